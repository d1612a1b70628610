//! The sections of the configuration, a struct each.
//!
//! Owns: every key with its type, default, bounds and explanation; the schema is made from here.
//! Leaves: what a text may look like (`formats`), and rules between several keys (`checks`).

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{secret::Secret, values::HumanDuration};

/// Settings of a Mediary server. Every key is optional.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where callers connect, and how much one of them may take.
    pub listen: ListenSection,
    /// Where the admin services answer.
    pub admin: AdminSection,
    /// Answers that are sent piece by piece.
    pub stream: StreamSection,
    /// Calls to providers.
    pub outbound: OutboundSection,
    /// What is logged, and in which form.
    pub log: LogSection,
    /// Figures of the work.
    pub telemetry: TelemetrySection,
    /// Which providers and models exist.
    pub catalog: CatalogSection,
    /// How the server is seen from outside.
    pub server: ServerSection,
    /// Who may call.
    pub auth: AuthSection,
    /// What is kept, and where.
    pub store: StoreSection,
    /// How long it is kept what calls used and cost.
    pub usage: UsageSection,
    /// How keys of providers are kept.
    pub vault: VaultSection,
    /// Accounts at providers, each with its own key. Further ones come from the variables that
    /// the provider rows name (such as OPENAI_API_KEY). Default: none.
    #[schemars(extend("default" = []))]
    pub accounts: Vec<AccountSection>,
}

/// Where callers connect, and how much one of them may take.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ListenSection {
    /// IP address and port to listen on. Default: 127.0.0.1:8484, reachable from this machine
    /// only.
    #[schemars(extend("format" = "socket-address"))]
    pub address: SocketAddr,
    /// Web origins whose pages may call the server (CORS), each written exactly as a browser sends
    /// it. Default: none beyond the server's own origin and those on the loopback interface.
    #[schemars(extend("items" = {"type": "string", "format": "web-origin"}))]
    pub allowed_origins: Vec<String>,
    /// Names by which callers call a server that listens on the loopback interface, beside
    /// localhost, its addresses and the host of server.public_base_uri: a call by another name is
    /// refused, because a web page can have its own name point here. A host of its own or with a
    /// port, in lower case. Default: none.
    #[schemars(extend("items" = {"type": "string", "format": "host"}))]
    pub allowed_hosts: Vec<String>,
    /// Listen in clear on an address that other machines can reach: say true only where a proxy in
    /// front does TLS. Default: false, such an address refuses to start without listen.tls.
    pub allow_insecure_public: bool,
    /// Encryption. Default: none, in clear.
    pub tls: TlsSection,
    /// Largest message that is accepted, in bytes. Default: 4194304 (4 MiB).
    #[schemars(range(min = 1024, max = 2147483647))]
    pub max_message_bytes: usize,
    /// Largest header list of one call, in bytes. Default: 16384 (16 KiB).
    #[schemars(range(min = 1024, max = 1048576))]
    pub max_header_bytes: u32,
    /// Calls that one connection may have open at a time. Default: 200.
    #[schemars(range(min = 1, max = 100000))]
    pub max_streams_per_connection: u32,
    /// Connections that may be open at a time; the newest takes the place of the oldest that has
    /// never made a call. Lowered, with a warning, where the process may not open as many files.
    /// Default: 16384.
    #[schemars(range(min = 1, max = 1000000))]
    pub max_connections: usize,
    /// Connections that one address (of IPv6: one network of 64 bits) may have open at a time.
    /// Default: unset, two thirds of max_connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000000))]
    pub max_connections_per_address: Option<usize>,
    /// Time for a new connection to shake hands and to say which HTTP it speaks, and for a header
    /// that was begun to end. Default: 10s.
    pub handshake_timeout: HumanDuration,
    /// Time for open calls to end after the server was told to stop; what is left is cut off. May
    /// be 0s. Default: 30s.
    #[schemars(extend("format" = "duration-or-zero"))]
    pub drain_timeout: HumanDuration,
    /// Time after the server was told to stop in which it answers new connections still, to say
    /// that it leaves; then its port is free for a successor. May be 0s. Default: 5s.
    #[schemars(extend("format" = "duration-or-zero"))]
    pub farewell_timeout: HumanDuration,
    /// A connection that was silent for this long is asked whether it is still there. Default: 30s.
    pub keepalive_interval: HumanDuration,
    /// Time to answer that question before the connection is closed. Default: 20s.
    pub keepalive_timeout: HumanDuration,
}

impl Default for ListenSection {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8484)),
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            allow_insecure_public: false,
            tls: TlsSection::default(),
            max_message_bytes: 4 * 1024 * 1024,
            max_header_bytes: 16 * 1024,
            max_streams_per_connection: 200,
            max_connections: 16_384,
            max_connections_per_address: None,
            handshake_timeout: HumanDuration::from_secs(10),
            drain_timeout: HumanDuration::from_secs(30),
            farewell_timeout: HumanDuration::from_secs(5),
            keepalive_interval: HumanDuration::from_secs(30),
            keepalive_timeout: HumanDuration::from_secs(20),
        }
    }
}

/// The files of TLS, in PEM. They are read again when they change and on SIGHUP; open connections
/// go on. A relative path starts at the folder of the file that names it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSection {
    /// Certificate of the server, with those between it and the root. Default: unset, no TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// Private key of the certificate. Default: unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// Certificates that may have signed those of callers. Default: unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
    /// Whether callers show a certificate. none: they are not asked. optional: one that is shown
    /// must be valid. required: without one they are not let in. Default: required where client_ca
    /// is set, else none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_auth: Option<ClientAuth>,
}

// Explained on the field, as with LogFormat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    None,
    Optional,
    Required,
}

/// Where the admin services answer.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdminSection {
    /// IP address and port of a listener of their own; they then answer nowhere else. Default:
    /// unset, they answer on listen.address where that is on the loopback interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "socket-address"))]
    pub address: Option<SocketAddr>,
    /// Answer them on listen.address although other machines can reach it. Default: false.
    pub on_public: bool,
    /// Encryption of that listener. Default: as in listen.tls.
    pub tls: TlsSection,
}

/// Answers that are sent piece by piece.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StreamSection {
    /// A stream that had nothing to say for this long sends a sign of life. Default: 15s.
    pub heartbeat_interval: HumanDuration,
    /// Time that a reader may leave a stream unread that has more for it; then the stream ends, and
    /// with it the call to the provider. Default: 30s.
    pub stall_timeout: HumanDuration,
}

impl Default for StreamSection {
    fn default() -> Self {
        Self {
            heartbeat_interval: HumanDuration::from_secs(15),
            stall_timeout: HumanDuration::from_secs(30),
        }
    }
}

/// Calls to providers.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OutboundSection {
    /// Time to connect to a provider, TLS included. Default: 5s.
    pub connect_timeout: HumanDuration,
    /// Longest silence of a provider during a call, thinking included; after that the call has
    /// failed. Default: 5m.
    pub idle_timeout: HumanDuration,
    /// Whether accounts are chosen by how they are: those whose calls fail, whose provider asks for
    /// a pause or refuses the key are left alone, and the better ones are asked first. false: they
    /// are asked in their order, each time; for a provider that is a gateway and does this itself.
    /// Limits and budgets hold either way. Default: true.
    pub account_health: bool,
}

impl Default for OutboundSection {
    fn default() -> Self {
        Self {
            connect_timeout: HumanDuration::from_secs(5),
            idle_timeout: HumanDuration::from_secs(300),
            account_health: true,
        }
    }
}

/// What is logged, and in which form.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogSection {
    /// error, warn, info, debug, trace or off; or directives per target such as
    /// "info,mediary_server::routing=debug". Default: info.
    #[schemars(extend("format" = "log-filter"))]
    pub level: String,
    /// auto: pretty on a terminal, json otherwise. pretty: for people. json: one object a line.
    /// Default: auto.
    pub format: LogFormat,
}

impl Default for LogSection {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Auto }
    }
}

/// Figures of the work.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetrySection {
    /// Serve /metrics on listen.address although other machines can reach it, or although the admin
    /// services have a listener of their own; it needs the role operator everywhere. Default: false,
    /// it is where the admin services are on this machine or on admin.address.
    pub metrics_on_public: bool,
}

// Explained on the field: comments here would turn the schema's plain list into alternatives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Auto,
    Pretty,
    Json,
}

/// Which providers and models exist.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CatalogSection {
    /// Folder with providers/*.toml and models/*.toml, laid over the built-in rows: a row of the
    /// same id replaces the built-in one. A relative path starts at the folder of the file that
    /// names it. Default: unset, the built-in rows alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// Whether the target `auto` may be answered by the sandbox, whose answers are made up.
    /// Default: false.
    pub auto_includes_sandbox: bool,
}

/// How the server is seen from outside.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServerSection {
    /// Address that callers use to reach the server, where a proxy in front makes it another one
    /// than listen.address. Default: unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "http-uri"))]
    pub public_base_uri: Option<String>,
}

/// Who may call.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuthSection {
    /// A key with the role admin, beside those that the store keeps: env:NAME, file:PATH, ${NAME}
    /// or ${NAME:-default}, at least 24 characters. Default: unset.
    #[serde(default)]
    #[schemars(with = "Option<String>", length(min = 1), extend("writeOnly" = true))]
    pub admin_key: Option<Secret>,
    /// What callers without a key may do. auto: everything where only this machine reaches the
    /// server, what the role user may where listen.allow_insecure_public says that a proxy does
    /// keys, nothing elsewhere. none, viewer, user, operator or admin: that, wherever they call
    /// from. Default: auto.
    pub anonymous_role: AnonymousRole,
    /// Streams that one key may have open at a time. Default: 100.
    #[schemars(range(min = 1, max = 1000000))]
    pub max_streams_per_key: u32,
}

impl Default for AuthSection {
    fn default() -> Self {
        Self { admin_key: None, anonymous_role: AnonymousRole::Auto, max_streams_per_key: 100 }
    }
}

// Explained on the field: comments here would turn the schema's plain list into alternatives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AnonymousRole {
    Auto,
    None,
    Viewer,
    User,
    Operator,
    Admin,
}

/// What is kept, and where.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StoreSection {
    /// Folder of the SQLite store; made if it is not there. A relative path starts at the folder
    /// of the file that names it. Default: data, in the working directory.
    pub directory: PathBuf,
}

impl Default for StoreSection {
    fn default() -> Self {
        Self { directory: PathBuf::from("data") }
    }
}

/// How long it is kept what calls used and cost.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UsageSection {
    /// Attempts at providers that ended longer ago are forgotten, and usage of that time with them.
    /// Default: 400d.
    #[schemars(extend("format" = "retention"))]
    pub retention: HumanDuration,
}

impl Default for UsageSection {
    fn default() -> Self {
        Self { retention: HumanDuration::from_secs(400 * 24 * 60 * 60) }
    }
}

/// How keys of providers are kept.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VaultSection {
    /// Seals the keys of accounts in the store: 32 random bytes in base64, as `openssl rand
    /// -base64 32` prints them, given as env:NAME, file:PATH, ${NAME} or ${NAME:-default}. Default:
    /// unset, the store keeps references to keys and no keys.
    #[serde(default)]
    #[schemars(with = "Option<String>", length(min = 1), extend("writeOnly" = true))]
    pub key: Option<Secret>,
    /// The key before this one: opens what it has sealed, and seals nothing any more. Default:
    /// unset.
    #[serde(default)]
    #[schemars(with = "Option<String>", length(min = 1), extend("writeOnly" = true))]
    pub former_key: Option<Secret>,
    /// Environment variables that an account may name as env:NAME, beside those that provider rows
    /// name; a * at the end stands for any rest. Default: none.
    pub readable_variables: Vec<String>,
    /// Folder below which an account may name a file as file:PATH. A relative path starts at the
    /// folder of the file that names it. Default: unset, no file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readable_directory: Option<PathBuf>,
}

/// An account at a provider.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountSection {
    /// Name of the account, unique among all: a lower-case letter, then letters, digits and dashes.
    #[schemars(extend("format" = "slug"), regex(pattern = "^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$"))]
    pub id: String,
    /// Id of the provider, such as openai.
    #[schemars(extend("format" = "slug"), regex(pattern = "^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$"))]
    pub provider: String,
    /// The provider's key: env:NAME, file:PATH, ${NAME} or ${NAME:-default}; the key itself works
    /// too, with a warning. Default: unset, for providers that ask for none.
    #[serde(default)]
    #[schemars(with = "Option<String>", length(min = 1), extend("writeOnly" = true))]
    pub api_key: Option<Secret>,
    /// Called instead of the provider's usual address. Default: unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "http-uri"))]
    pub base_uri: Option<String>,
    /// What the provider's protocol wants to know of the account beside key and address.
    #[serde(default, skip_serializing_if = "ProtocolSettings::is_usual")]
    pub settings: ProtocolSettings,
}

/// Settings of an account that belong to its provider's protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProtocolSettings {
    /// Version of the API to ask for, such as 2024-10-21 at Azure: its older addresses, with the
    /// deployment in the path, are called then. Default: unset, the provider's usual one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub api_version: Option<String>,
    /// Whether the key is a token that is sent as a bearer, such as one of Entra ID, whatever the
    /// provider's keys are sent as. Default: false.
    pub bearer: bool,
}

impl ProtocolSettings {
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}
