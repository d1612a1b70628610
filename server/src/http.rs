//! What is not gRPC: health for orchestrators, and a word for people who open the port.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use serde_json::json;

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

pub fn routes(readiness: Readiness) -> Router {
    Router::new()
        .route("/", get(front))
        .route("/livez", get(alive))
        .route("/readyz", get(ready))
        .route("/healthz", get(ready))
        .with_state(readiness)
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
