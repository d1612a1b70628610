//! Assembles the house, in order. The only file that knows every room.

use std::{net::SocketAddr, sync::Arc};

use mediary_proto::{
    FILE_DESCRIPTOR_SET,
    admin::{
        account_service_server::AccountServiceServer, api_key_service_server::ApiKeyServiceServer,
        audit_service_server::AuditServiceServer, catalog_service_server::CatalogServiceServer,
        route_service_server::RouteServiceServer,
    },
    v1::{
        model_service_server::ModelServiceServer, server_service_server::ServerServiceServer,
        text_service_server::TextServiceServer,
    },
};
use mediary_store::{RegistryRows, Shared};
use mediary_store_sqlite::{Settings, SqliteStore};
use tokio::net::TcpListener;
use tonic_health::server::HealthReporter;
use tracing::info;

use crate::{
    access::{Access, Role, Terms},
    clock::Clock,
    config::{AnonymousRole, Config, Environment, Loaded},
    http::{self, Readiness},
    listener::{self, Signals},
    providers::{self, Setup},
    registry::{Base, Keeper, ProviderRow, Registry, Rows, Snapshot},
    service::{
        self,
        account::AccountApi,
        api_key::ApiKeyApi,
        audit::AuditApi,
        catalog::CatalogApi,
        layers::{Front, Gate},
        listing::PageTokens,
        methods::Methods,
        model::ModelApi,
        route::RouteApi,
        server_info::ServerApi,
        services::Services,
        stall::Stalls,
        text::TextApi,
        trail::Trail,
    },
    transport::Http,
    vault::{self, Readable, Vault},
};

/// A house that stands and listens, and does not answer yet.
pub struct App {
    listener: TcpListener,
    front: Front,
    config: Config,
    signals: Signals,
    readiness: Readiness,
    health: HealthReporter,
    stalls: Stalls,
    store: Shared,
    access: Access,
    keeper: Arc<Keeper>,
    clock: Clock,
}

impl App {
    /// Builds every room; all that can be wrong is wrong here, before anything is answered.
    pub async fn build(loaded: Loaded, clock: Clock) -> Result<Self, String> {
        let Loaded { config, environment, .. } = loaded;
        let signals = Signals::default();

        let transport =
            Http::new(clock.clone(), config.outbound.connect_timeout.get()).map_err(text)?;
        let access = Access::new(clock.clone(), terms(&config));
        let store = open_store(&config).await?;
        let salt = store.registry().salt().await.map_err(text)?;
        let base = base(&config, &environment, transport, &salt, &clock)?;
        vault::reseal(&*store, base.vault(), &clock).await.map_err(text)?;
        let registry = Registry::new(Snapshot::default());
        let keeper = Keeper::new(store.clone(), access.clone(), Arc::new(base), registry.clone());
        let keeper = Arc::new(keeper);
        keeper.begin().await?;
        needs_a_key(&config, &access)?;

        let served = service::served();
        let stalls = Stalls::new(clock.clone());
        let gate = Gate {
            methods: Methods::read(&served)?,
            allowed_origins: config.listen.allowed_origins.clone(),
            access: access.clone(),
            trail: Trail { store: store.clone(), clock: clock.clone() },
            clock: clock.clone(),
            is_loopback: config.listen.address.ip().is_loopback(),
            public_origin: config.server.public_base_uri.as_deref().map(origin_of),
            draining: signals.draining.clone(),
            stalls: stalls.clone(),
        };
        let (health, health_service) = tonic_health::server::health_reporter();
        let salt = store.registry().salt().await.map_err(text)?;
        let pages = Arc::new(PageTokens::new(&salt, clock.clone()));
        let services = services(&config, &registry, &keeper, &store, &pages, &clock, &signals)
            .add_service(health_service)
            .add_service(reflection(FILE_DESCRIPTOR_SET)?.build_v1().map_err(text)?)
            .add_service(reflection(FILE_DESCRIPTOR_SET)?.build_v1alpha().map_err(text)?);
        let readiness = Readiness::default();
        let front = Front::new(services, http::routes(readiness.clone()), gate);

        let listener = listener::bind(config.listen.address).await?;
        Ok(Self {
            listener,
            front,
            config,
            signals,
            readiness,
            health,
            stalls,
            store,
            access,
            keeper,
            clock,
        })
    }

    /// Whether it could be built: reads the catalog, binds nothing and opens no store.
    pub fn check(loaded: &Loaded, clock: &Clock) -> Result<(), String> {
        let transport =
            Http::new(clock.clone(), loaded.config.outbound.connect_timeout.get()).map_err(text)?;
        let base = base(&loaded.config, &loaded.environment, transport, &[0; 32], clock)?;
        let (_, complaints) = base.with(&RegistryRows::default(), &Snapshot::default());
        let fatal = complaints.into_iter().filter(|one| one.is_fatal).map(|one| one.problem);
        let fatal: Vec<String> = fatal.collect();
        if fatal.is_empty() { Ok(()) } else { Err(fatal.join("\n")) }
    }

    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Cancel `draining` to let it finish its work, `closing` to end at once.
    pub fn signals(&self) -> Signals {
        self.signals.clone()
    }

    /// Answers until it is told to stop, and returns once every connection has ended.
    pub async fn run(self) {
        let Self { listener, front, config, signals, readiness, health, .. } = self;
        let Self { stalls, store, access, keeper, clock, .. } = self;
        readiness.set(true);
        set_health(&health, true).await;
        let draining = async {
            signals.draining.cancelled().await;
            info!("stopping: no new work is taken");
            readiness.set(false);
            set_health(&health, false).await;
        };
        let serving = listener::serve(listener, front, &config.listen, signals.clone());
        tokio::select! {
            _ = async { tokio::join!(draining, serving) } => {}
            () = stalls.sweep() => {}
            () = keeper.follow() => {}
            () = keeper.tidy(&clock) => {}
            () = access.note_use(store.api_keys()) => {}
        }
        access.note_use_now(store.api_keys()).await;
        store.close().await;
    }
}

async fn open_store(config: &Config) -> Result<Shared, String> {
    let directory = &config.store.directory;
    let store = SqliteStore::open(Settings::new(directory)).await;
    let store =
        store.map_err(|error| format!("store.directory {}: {error}", directory.display()))?;
    Ok(Arc::new(store))
}

fn terms(config: &Config) -> Terms {
    let is_loopback = config.listen.address.ip().to_canonical().is_loopback();
    let anonymous = match config.auth.anonymous_role {
        AnonymousRole::Auto if is_loopback => Some(Role::Admin),
        AnonymousRole::Auto if config.listen.allow_insecure_public => Some(Role::User),
        AnonymousRole::Auto | AnonymousRole::None => None,
        AnonymousRole::Viewer => Some(Role::Viewer),
        AnonymousRole::User => Some(Role::User),
        AnonymousRole::Operator => Some(Role::Operator),
        AnonymousRole::Admin => Some(Role::Admin),
    };
    Terms {
        anonymous,
        anonymous_owner: if is_loopback { "loopback" } else { "anonymous" },
        admin_key: config.auth.admin_key.clone(),
        max_streams_per_key: config.auth.max_streams_per_key,
    }
}

/// Other machines reach the server: somebody must be able to call it, and not just anybody.
fn needs_a_key(config: &Config, access: &Access) -> Result<(), String> {
    let is_loopback = config.listen.address.ip().to_canonical().is_loopback();
    if is_loopback || config.listen.allow_insecure_public || access.has_admin_key() {
        return Ok(());
    }
    let address = config.listen.address;
    Err(format!(
        "other machines can reach {address}, and there is no key with the role admin: set \
         auth.admin_key, or make one while listening on 127.0.0.1 with `mediary keys create`"
    ))
}

fn base(
    config: &Config,
    environment: &Environment,
    http: Http,
    salt: &[u8; 32],
    clock: &Clock,
) -> Result<Base, String> {
    let setup = Setup { http, clock: clock.clone() };
    let rows = Rows {
        folder: config.catalog.directory.as_deref(),
        accounts: &config.accounts,
        environment,
        idle_timeout: config.outbound.idle_timeout.get(),
    };
    let vault = Vault::new(&config.vault, salt, clock.clone());
    let readable = Readable::new(environment.clone(), &config.vault);
    let build =
        Box::new(move |dialect: &str, row: &ProviderRow| providers::build(&setup, dialect, row));
    Base::read(&rows, vault, readable, build).map_err(|problems| problems.join("\n"))
}

fn services(
    config: &Config,
    registry: &Registry,
    keeper: &Arc<Keeper>,
    store: &Shared,
    pages: &Arc<PageTokens>,
    clock: &Clock,
    signals: &Signals,
) -> Services {
    let most = config.listen.max_message_bytes;
    let public = config.server.public_base_uri.as_deref();
    let server = ServerApi::new(&config.listen, public, clock.wall());
    let text = TextApi::new(
        registry.clone(),
        clock.clone(),
        config.stream.heartbeat_interval.get(),
        config.catalog.auto_includes_sandbox,
        signals.closing.clone(),
    );
    let models = ModelApi::new(
        registry.clone(),
        pages.clone(),
        clock.clone(),
        config.catalog.auto_includes_sandbox,
    );
    let catalog = CatalogApi::new(store.clone(), keeper.clone(), registry.clone(), clock.clone());
    let accounts = AccountApi::new(
        store.clone(),
        keeper.clone(),
        registry.clone(),
        pages.clone(),
        clock.clone(),
    );
    let routes = RouteApi::new(
        store.clone(),
        keeper.clone(),
        registry.clone(),
        pages.clone(),
        clock.clone(),
    );
    let keys = ApiKeyApi::new(store.clone(), keeper.clone(), pages.clone(), clock.clone());
    let audit = AuditApi::new(store.clone(), pages.clone());
    Services::default()
        .add_service(ServerServiceServer::new(server).max_decoding_message_size(most))
        .add_service(ModelServiceServer::new(models).max_decoding_message_size(most))
        .add_service(TextServiceServer::new(text).max_decoding_message_size(most))
        .add_service(CatalogServiceServer::new(catalog).max_decoding_message_size(most))
        .add_service(AccountServiceServer::new(accounts).max_decoding_message_size(most))
        .add_service(RouteServiceServer::new(routes).max_decoding_message_size(most))
        .add_service(ApiKeyServiceServer::new(keys).max_decoding_message_size(most))
        .add_service(AuditServiceServer::new(audit).max_decoding_message_size(most))
}

fn reflection(
    contract: &'static [u8],
) -> Result<tonic_reflection::server::Builder<'static>, String> {
    Ok(tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(contract)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET))
}

async fn set_health(health: &HealthReporter, serving: bool) {
    let status = if serving {
        tonic_health::ServingStatus::Serving
    } else {
        tonic_health::ServingStatus::NotServing
    };
    let mut services: Vec<&str> = service::served()
        .iter()
        .filter_map(|name| name.rsplit_once('.'))
        .map(|(one, _)| one)
        .collect();
    services.dedup();
    for name in services.into_iter().chain([""]) {
        health.set_service_status(name, status).await;
    }
}

/// `https://host:8443/path` -> `https://host:8443`.
fn origin_of(uri: &str) -> String {
    let start = uri.find("://").map_or(0, |at| at + 3);
    let end = uri[start..].find('/').map_or(uri.len(), |at| start + at);
    uri[..end].to_owned()
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
