//! Assembles the house, in order. The only file that knows every room.

use std::{net::SocketAddr, sync::Arc};

use axum::Router;
use mediary_domain::{Error, Inspection, Kind};
use mediary_proto::{
    FILE_DESCRIPTOR_SET,
    v1::{
        model_service_server::ModelServiceServer, server_service_server::ServerServiceServer,
        text_service_server::TextServiceServer,
    },
};
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic_health::server::HealthReporter;
use tracing::info;

use crate::{
    clock::Clock,
    config::{Config, Environment, Loaded},
    http::{self, Readiness},
    listener::{self, Signals},
    provider::CallContext,
    providers::{self, Setup},
    registry::{self, Registry, Rows, Snapshot},
    service::{
        self,
        layers::{self, Gate},
        listing::PageTokens,
        methods::Methods,
        model::ModelApi,
        server_info::ServerApi,
        stall::Stalls,
        text::TextApi,
    },
    transport::Http,
};

/// A house that stands and listens, and does not answer yet.
pub struct App {
    listener: TcpListener,
    router: Router,
    config: Config,
    signals: Signals,
    readiness: Readiness,
    health: HealthReporter,
    stalls: Stalls,
}

impl App {
    /// Builds every room; all that can be wrong is wrong here, before anything is answered.
    pub async fn build(loaded: Loaded, clock: Clock) -> Result<Self, String> {
        let Loaded { config, environment, .. } = loaded;
        let signals = Signals::default();

        let transport =
            Http::new(clock.clone(), config.outbound.connect_timeout.get()).map_err(text)?;
        let registry = Registry::new(snapshot(&config, &environment, transport, &clock)?);

        let served = service::served();
        let stalls = Stalls::new(clock.clone());
        let gate = Gate {
            methods: Methods::read(&served)?,
            allowed_origins: config.listen.allowed_origins.clone(),
            clock: clock.clone(),
            is_loopback: config.listen.address.ip().is_loopback(),
            public_origin: config.server.public_base_uri.as_deref().map(origin_of),
            draining: signals.draining.clone(),
            stalls: stalls.clone(),
        };
        let (health, health_service) = tonic_health::server::health_reporter();
        let services = services(&config, &registry, &clock, &signals)
            .add_service(health_service)
            .add_service(reflection(FILE_DESCRIPTOR_SET)?.build_v1().map_err(text)?)
            .add_service(reflection(FILE_DESCRIPTOR_SET)?.build_v1alpha().map_err(text)?);
        let readiness = Readiness::default();
        let grpc = layers::stack(services.into_axum_router(), Arc::new(gate));
        let router = layers::front(grpc, http::routes(readiness.clone()));

        let listener = listener::bind(config.listen.address).await?;
        Ok(Self { listener, router, config, signals, readiness, health, stalls })
    }

    /// Whether it could be built: reads the catalog, binds nothing.
    pub fn check(loaded: &Loaded, clock: &Clock) -> Result<(), String> {
        let transport =
            Http::new(clock.clone(), loaded.config.outbound.connect_timeout.get()).map_err(text)?;
        snapshot(&loaded.config, &loaded.environment, transport, clock).map(drop)
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
        let Self { listener, router, config, signals, readiness, health, stalls } = self;
        readiness.set(true);
        set_health(&health, true).await;
        let draining = async {
            signals.draining.cancelled().await;
            info!("stopping: no new work is taken");
            readiness.set(false);
            set_health(&health, false).await;
        };
        let serving = listener::serve(listener, router, &config.listen, signals.clone());
        tokio::select! {
            _ = async { tokio::join!(draining, serving) } => {}
            () = stalls.sweep() => {}
        }
    }
}

/// Asks a provider, with the first account there, what it says of itself: a free check of the key,
/// and the models that it may use.
pub async fn inspect(
    loaded: &Loaded,
    clock: &Clock,
    provider: &str,
) -> mediary_domain::Result<Inspection> {
    let transport = Http::new(clock.clone(), loaded.config.outbound.connect_timeout.get())?;
    let snapshot = snapshot(&loaded.config, &loaded.environment, transport, clock)
        .map_err(|problems| Error::field("catalog", problems))?;
    let none = || Error::not_found("mediary.v1.Provider", format!("providers/{provider}"));
    let entry = snapshot.providers.get(provider).ok_or_else(none)?;
    let account = entry.accounts.first().ok_or_else(|| {
        Error::new(Kind::NoUsableAccount, format!("there is no account at {provider}"))
    })?;
    let cx = CallContext::of_account(entry.row.clone(), account.clone());
    entry.adapters.own().inspect(&cx).await
}

fn snapshot(
    config: &Config,
    environment: &Environment,
    http: Http,
    clock: &Clock,
) -> Result<Snapshot, String> {
    let setup = Setup { http, clock: clock.clone() };
    let rows = Rows {
        folder: config.catalog.directory.as_deref(),
        accounts: &config.accounts,
        environment,
        idle_timeout: config.outbound.idle_timeout.get(),
    };
    registry::load(&rows, |dialect, row| providers::build(&setup, dialect, row))
        .map_err(|problems| problems.join("\n"))
}

fn services(config: &Config, registry: &Registry, clock: &Clock, signals: &Signals) -> Routes {
    let most = config.listen.max_message_bytes;
    let pages = Arc::new(PageTokens::new(&clock.random_key(), clock.clone()));
    let public = config.server.public_base_uri.as_deref();
    let server = ServerApi::new(&config.listen, public, clock.wall());
    let text = TextApi::new(
        registry.clone(),
        clock.clone(),
        config.stream.heartbeat_interval.get(),
        config.catalog.auto_includes_sandbox,
        signals.closing.clone(),
    );
    Routes::new(ServerServiceServer::new(server).max_decoding_message_size(most))
        .add_service(
            ModelServiceServer::new(ModelApi::new(registry.clone(), pages))
                .max_decoding_message_size(most),
        )
        .add_service(TextServiceServer::new(text).max_decoding_message_size(most))
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
