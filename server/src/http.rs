//! What is not gRPC: health for orchestrators, figures for Prometheus, and a word for people who
//! open the port.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use mediary_domain::Kind;
use serde_json::json;

use crate::{
    access::{Access, Caller, Role},
    telemetry::Metrics,
};

/// Whether new work is welcome. Off while the server drains.
#[derive(Clone, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }

    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Figures, and who may read them: they name accounts and tell what was spent.
#[derive(Clone)]
pub struct Figures {
    pub metrics: Metrics,
    pub access: Access,
    /// Who reads them without a key.
    pub anonymous: Option<Caller>,
}

/// `figures`: `None` = they are not read at this listener.
pub fn routes(readiness: Readiness, figures: Option<Figures>) -> Router {
    let told = match figures {
        Some(figures) => Router::new().route("/metrics", get(self::figures)).with_state(figures),
        None => Router::new(),
    };
    Router::new()
        .route("/", get(front))
        .route("/livez", get(alive))
        .route("/readyz", get(ready))
        .route("/healthz", get(ready))
        .with_state(readiness)
        .merge(told)
}

async fn front() -> &'static str {
    concat!(
        "Mediary ",
        env!("CARGO_PKG_VERSION"),
        ": gRPC and grpc-web on this port. Try `mediary chat \"say hello\"`.\n"
    )
}

/// The process runs.
async fn alive() -> &'static str {
    "ok\n"
}

/// New work is welcome. A provider that is down never makes us unready.
async fn ready(State(readiness): State<Readiness>) -> impl IntoResponse {
    if readiness.is_ready() {
        (StatusCode::OK, Json(json!({"ready": true, "reasons": []})))
    } else {
        let body = json!({"ready": false, "reasons": ["the server is shutting down"]});
        (StatusCode::SERVICE_UNAVAILABLE, Json(body))
    }
}

/// Every figure, for the role operator.
async fn figures(State(figures): State<Figures>, headers: HeaderMap) -> Response {
    match figures.access.identify(&headers, figures.anonymous.as_ref()) {
        Ok(caller) if caller.role >= Role::Operator => {
            let form = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
            (form, figures.metrics.text()).into_response()
        }
        Ok(_) => (StatusCode::FORBIDDEN, "this needs the role operator\n").into_response(),
        Err(error) => {
            let code = match error.kind() {
                Kind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
                _ => StatusCode::UNAUTHORIZED,
            };
            (code, format!("{}\n", error.message())).into_response()
        }
    }
}
