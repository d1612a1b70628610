//! Which gRPC service answers a path.
//!
//! tonic's own router goes through axum's, which boxes what it passes several times a call.

use std::{collections::HashMap, convert::Infallible, sync::Arc};

use http::{Request, Response};
use tonic::{body::Body, codegen::BoxFuture, server::NamedService};
use tower::Service;

type Answering = BoxFuture<Response<Body>, Infallible>;
type Call = Arc<dyn Fn(Request<Body>) -> Answering + Send + Sync>;

/// gRPC services by their full names, `mediary.v1.TextService`.
#[derive(Clone, Default)]
pub struct Services(HashMap<&'static str, Call>);

impl Services {
    pub fn add_service<S>(mut self, service: S) -> Self
    where
        S: Service<
                Request<Body>,
                Response = Response<Body>,
                Error = Infallible,
                Future = Answering,
            > + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
    {
        // The services that tonic generates are ready at any time.
        self.0.insert(S::NAME, Arc::new(move |request| service.clone().call(request)));
        self
    }

    /// The answer of the service that the path names; the request itself where there is none.
    pub fn call(
        &self,
        request: Request<Body>,
    ) -> Result<impl Future<Output = Response<Body>> + Send + use<>, Request<Body>> {
        let name = request.uri().path().strip_prefix('/').and_then(|path| path.split_once('/'));
        match name.and_then(|(name, _)| self.0.get(name)) {
            Some(call) => {
                let answer = call(request);
                Ok(async { answer.await.unwrap_or_else(|never| match never {}) })
            }
            None => Err(request),
        }
    }
}
