//! Assembles the house, in order. The only file that knows every room.

use std::{net::SocketAddr, sync::Arc};

use mediary_proto::{
    FILE_DESCRIPTOR_SET,
    admin::{
        account_service_server::AccountServiceServer, api_key_service_server::ApiKeyServiceServer,
        audit_service_server::AuditServiceServer, catalog_service_server::CatalogServiceServer,
        preset_service_server::PresetServiceServer, route_service_server::RouteServiceServer,
        usage_service_server::UsageServiceServer, workflow_service_server::WorkflowServiceServer,
    },
    v1::{
        model_service_server::ModelServiceServer, server_service_server::ServerServiceServer,
        text_service_server::TextServiceServer,
    },
};
use mediary_store::{RegistryRows, Shared};
use mediary_store_sqlite::{Settings, SqliteStore};
use tokio::sync::mpsc::UnboundedReceiver;
use tonic_health::server::HealthReporter;
use tracing::info;

use crate::{
    access::{Access, Caller, Role, Terms},
    clock::{Clock, Steady},
    config::{AnonymousRole, Config, Environment, Loaded},
    http::{self, Figures, Readiness},
    ledger::Ledger,
    listener::{self, Entrance, Signals, tls::Tls},
    providers::{self, Setup},
    registry::{Account, Base, Keeper, ProviderRow, Registry, Rows, Snapshot},
    routing::{Accounts, Desk, Learned, Limits},
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
        preset::PresetApi,
        route::RouteApi,
        server_info::ServerApi,
        services::Services,
        stall::Stalls,
        text::TextApi,
        trail::Trail,
        usage::UsageApi,
        workflow::WorkflowApi,
    },
    telemetry::Metrics,
    transport::Http,
    vault::{self, Readable, Vault},
};

/// A house that stands and listens, and does not answer yet.
pub struct App {
    entrances: Vec<Entrance>,
    config: Config,
    clock: Clock,
    signals: Signals,
    readiness: Readiness,
    health: HealthReporter,
    stalls: Stalls,
    store: Shared,
    access: Access,
    keeper: Arc<Keeper>,
    ledger: Ledger,
    desk: Desk,
    account_api: AccountApi,
    /// Accounts whose keys calls have found to be refused.
    rejected: UnboundedReceiver<Arc<Account>>,
}

impl App {
    /// Builds every room; all that can be wrong is wrong here, before anything is answered.
    pub async fn build(loaded: Loaded, clock: Clock) -> Result<Self, String> {
        let Loaded { mut config, environment, .. } = loaded;
        let signals = Signals::default();
        let metrics = Metrics::new()?;

        let transport =
            Http::new(clock.clone(), config.outbound.connect_timeout.get()).map_err(text)?;
        let ways = ways(&config)?;
        let terms = Terms {
            admin_key: config.auth.admin_key.clone(),
            max_streams_per_key: config.auth.max_streams_per_key,
        };
        let access = Access::new(clock.clone(), terms);
        let store = open_store(&config).await?;
        let salt = store.registry().salt().await.map_err(text)?;
        let base = base(&config, &environment, transport, &salt, &clock)?;
        vault::reseal(&*store, base.vault(), &clock).await.map_err(text)?;
        let registry = Registry::new(Snapshot::default());
        let keeper = Keeper::new(store.clone(), access.clone(), Arc::new(base), registry.clone());
        let keeper = Arc::new(keeper);
        keeper.begin().await?;
        needs_a_key(&config, &ways, &access)?;
        let ledger = Ledger::begin(store.clone(), clock.clone()).await.map_err(text)?;
        let learned = Learned::of(&store.learning().all().await.map_err(text)?);
        let limits = limits(&store, &clock).await?;
        let (accounts, rejected) =
            Accounts::new(clock.clone(), limits, config.outbound.account_health);
        let known = registry.now();
        let account = |name: &str| known.accounts.get(name.strip_prefix("accounts/")?).cloned();
        accounts.remember(&*store, account).await.map_err(text)?;

        let served = service::served();
        let stalls = Stalls::new(clock.clone(), config.stream.stall_timeout.get());
        let (health, health_service) = tonic_health::server::health_reporter();
        let pages = Arc::new(PageTokens::new(&salt, clock.clone()));
        let account_api = AccountApi::new(
            store.clone(),
            keeper.clone(),
            registry.clone(),
            accounts.clone(),
            pages.clone(),
            clock.clone(),
        );
        let desk = Desk::new(clock.clone(), accounts, metrics.clone(), ledger.clone(), learned);
        let services = services(&config, &registry, &keeper, &store, &pages, &desk, &signals)
            .add_service(
                AccountServiceServer::new(account_api.clone())
                    .max_decoding_message_size(config.listen.max_message_bytes),
            )
            .add_service(
                UsageServiceServer::new(UsageApi::new(
                    store.clone(),
                    ledger.clone(),
                    registry.clone(),
                    pages.clone(),
                    clock.clone(),
                ))
                .max_decoding_message_size(config.listen.max_message_bytes),
            )
            .add_service(health_service)
            .add_service(reflection(FILE_DESCRIPTOR_SET)?.build_v1().map_err(text)?)
            .add_service(reflection(FILE_DESCRIPTOR_SET)?.build_v1alpha().map_err(text)?);
        let readiness = Readiness::default();
        let mut entrances = Vec::new();
        for way in ways {
            let is_loopback = way.is_loopback();
            let Way { key, address, serves_admin, serves_metrics, tls } = way;
            let figures = serves_metrics.then(|| Figures {
                metrics: metrics.clone(),
                access: access.clone(),
                anonymous: anonymous(&config, is_loopback),
            });
            let gate = Gate {
                anonymous: anonymous(&config, is_loopback),
                methods: Methods::read(&served)?,
                access: access.clone(),
                trail: Trail { store: store.clone(), clock: clock.clone() },
                allowed_origins: config.listen.allowed_origins.clone(),
                allowed_hosts: config.listen.allowed_hosts.clone(),
                clock: clock.clone(),
                is_loopback,
                serves_admin,
                public_origin: config.server.public_base_uri.as_deref().map(origin_of),
                draining: signals.draining.clone(),
                calls: signals.calls.clone(),
                stalls: stalls.clone(),
                metrics: metrics.clone(),
            };
            let front =
                Front::new(services.clone(), http::routes(readiness.clone(), figures), gate);
            entrances.push(Entrance { listener: listener::bind(key, address).await?, front, tls });
        }
        let most = &mut config.listen.max_connections;
        *most = listener::connections_that_fit(*most);
        Ok(Self {
            entrances,
            config,
            clock,
            signals,
            readiness,
            health,
            stalls,
            store,
            access,
            keeper,
            ledger,
            desk,
            account_api,
            rejected,
        })
    }

    /// Whether it could be built: reads the catalog and the certificates, binds nothing and opens
    /// no store.
    pub fn check(loaded: &Loaded, clock: &Clock) -> Result<(), String> {
        ways(&loaded.config)?;
        let transport =
            Http::new(clock.clone(), loaded.config.outbound.connect_timeout.get()).map_err(text)?;
        let base = base(&loaded.config, &loaded.environment, transport, &[0; 32], clock)?;
        let (_, complaints) = base.with(&RegistryRows::default(), &Snapshot::default());
        let fatal = complaints.into_iter().filter(|one| one.is_fatal).map(|one| one.problem);
        let fatal: Vec<String> = fatal.collect();
        if fatal.is_empty() { Ok(()) } else { Err(fatal.join("\n")) }
    }

    /// Where it listens; the admin services may have an address of their own behind it.
    pub fn addresses(&self) -> std::io::Result<Vec<SocketAddr>> {
        self.entrances.iter().map(|one| one.listener.local_addr()).collect()
    }

    /// Whether there is anything that `Signals::reload` has read again.
    pub fn reloads(&self) -> bool {
        self.entrances.iter().any(|one| one.tls.is_some())
    }

    /// Cancel `draining` to let it finish its work, `closing` to end at once.
    pub fn signals(&self) -> Signals {
        self.signals.clone()
    }

    /// Answers until it is told to stop, and returns once every connection has ended.
    pub async fn run(self) {
        let Self { entrances, config, clock, signals, readiness, health, .. } = self;
        let Self { stalls, store, access, keeper, ledger, .. } = self;
        let Self { desk, account_api, rejected, .. } = self;
        readiness.set(true);
        set_health(&health, true).await;
        let draining = async {
            signals.draining.cancelled().await;
            info!("stopping: no new work is taken");
            readiness.set(false);
            set_health(&health, false).await;
        };
        // One that two entrances share is looked after once.
        let certificates = entrances.iter().filter_map(|one| one.tls.clone());
        let mut certificates: Vec<Arc<Tls>> = certificates.collect();
        certificates.dedup_by(|one, other| Arc::ptr_eq(one, other));
        let certificates = futures::future::join_all(
            certificates.iter().map(|one| one.watch(signals.reload.subscribe())),
        );
        let stall = config.stream.stall_timeout.get();
        let serving = listener::serve(entrances, &config.listen, stall, &clock, signals.clone());
        tokio::select! {
            _ = async { tokio::join!(draining, serving) } => {}
            () = stalls.sweep() => {}
            () = async { certificates.await; std::future::pending().await } => {}
            () = keeper.follow() => {}
            () = keeper.tidy(&clock) => {}
            () = ledger.sweep(config.usage.retention.get()) => {}
            () = access.note_use(store.api_keys()) => {}
            () = desk.learned.keep(store.learning()) => {}
            () = account_api.keep_rejections(rejected) => {}
        }
        desk.accounts.limits().close().await;
        access.note_use_now(store.api_keys()).await;
        ledger.close().await;
        desk.learned.keep_now(store.learning()).await;
        store.close().await;
    }
}

/// The limits of this process; their time goes on from where another has left it.
async fn limits(store: &Shared, clock: &Clock) -> Result<Limits, String> {
    let quotas = store.quotas();
    let steady = Steady::new(clock.clone(), quotas.steady_time().await.map_err(text)?);
    quotas.keep_steady_time(steady.begin()).await.map_err(text)?;
    Ok(Limits::new(store.clone(), steady))
}

async fn open_store(config: &Config) -> Result<Shared, String> {
    let directory = &config.store.directory;
    let store = SqliteStore::open(Settings::new(directory)).await;
    let store =
        store.map_err(|error| format!("store.directory {}: {error}", directory.display()))?;
    Ok(Arc::new(store))
}

/// Who calls without a key at an address; `None` = nobody may.
fn anonymous(config: &Config, is_loopback: bool) -> Option<Caller> {
    let role = match config.auth.anonymous_role {
        AnonymousRole::Auto if is_loopback => Role::Admin,
        AnonymousRole::Auto if config.listen.allow_insecure_public => Role::User,
        AnonymousRole::Auto | AnonymousRole::None => return None,
        AnonymousRole::Viewer => Role::Viewer,
        AnonymousRole::User => Role::User,
        AnonymousRole::Operator => Role::Operator,
        AnonymousRole::Admin => Role::Admin,
    };
    Some(Caller::anonymous(if is_loopback { "loopback" } else { "anonymous" }, role))
}

/// Where other machines reach the server somebody must be able to call it, and not just anybody.
fn needs_a_key(config: &Config, ways: &[Way], access: &Access) -> Result<(), String> {
    let public = ways.iter().find(|way| !way.is_loopback());
    let Some(Way { address, .. }) = public else { return Ok(()) };
    if config.listen.allow_insecure_public || access.has_admin_key() {
        return Ok(());
    }
    Err(format!(
        "other machines can reach {address}, and there is no key with the role admin: set \
         auth.admin_key, or make one while listening on 127.0.0.1 with `mediary keys create`"
    ))
}

/// An address to listen on.
struct Way {
    key: &'static str,
    address: SocketAddr,
    serves_admin: bool,
    serves_metrics: bool,
    tls: Option<Arc<Tls>>,
}

impl Way {
    fn is_loopback(&self) -> bool {
        self.address.ip().to_canonical().is_loopback()
    }
}

/// The main one first.
fn ways(config: &Config) -> Result<Vec<Way>, String> {
    let Config { listen, admin, telemetry, .. } = config;
    let is_private = admin.address.is_none() && listen.address.ip().to_canonical().is_loopback();
    let main = Way {
        key: "listen.address",
        address: listen.address,
        serves_admin: admin.address.is_none()
            && (admin.on_public || listen.address.ip().to_canonical().is_loopback()),
        serves_metrics: is_private || telemetry.metrics_on_public,
        tls: Tls::load("listen.tls", &listen.tls)?.map(Arc::new),
    };
    let own = Tls::load("admin.tls", &admin.tls)?.map(Arc::new);
    let aside = admin.address.map(|address| Way {
        key: "admin.address",
        address,
        serves_admin: true,
        serves_metrics: true,
        tls: own.or_else(|| main.tls.clone()),
    });
    Ok([Some(main), aside].into_iter().flatten().collect())
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
    desk: &Desk,
    signals: &Signals,
) -> Services {
    let clock = &desk.clock;
    let most = config.listen.max_message_bytes;
    let public = config.server.public_base_uri.as_deref();
    let server = ServerApi::new(&config.listen, public, clock.wall());
    let text = TextApi::new(
        registry.clone(),
        desk.clone(),
        config.stream.heartbeat_interval.get(),
        config.catalog.auto_includes_sandbox,
        signals.closing.clone(),
    );
    let models = ModelApi::new(
        registry.clone(),
        desk.accounts.clone(),
        desk.learned.clone(),
        pages.clone(),
        clock.clone(),
        config.catalog.auto_includes_sandbox,
    );
    let catalog = CatalogApi::new(store.clone(), keeper.clone(), registry.clone(), clock.clone());
    let routes = RouteApi::new(
        store.clone(),
        keeper.clone(),
        registry.clone(),
        pages.clone(),
        clock.clone(),
    );
    let presets = PresetApi::new(
        store.clone(),
        keeper.clone(),
        registry.clone(),
        desk.learned.clone(),
        pages.clone(),
        clock.clone(),
    );
    let workflows = WorkflowApi::new(
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
        .add_service(RouteServiceServer::new(routes).max_decoding_message_size(most))
        .add_service(PresetServiceServer::new(presets).max_decoding_message_size(most))
        .add_service(WorkflowServiceServer::new(workflows).max_decoding_message_size(most))
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
