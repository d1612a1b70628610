//! Which gRPC service answers a path.
//!
//! tonic's own router goes through axum's, which boxes what it passes several times a call.

use std::{collections::HashMap, convert::Infallible, sync::Arc};

use http::{Request, Response};
use tonic::{body::Body, codegen::BoxFuture, server::NamedService};
use tower::Service;

type Answering = BoxFuture<Response<Body>, Infallible>;
/// One call of a service. It cannot fail: what goes wrong is an answer as well.
pub type Call = Arc<dyn Fn(Request<Body>) -> Answering + Send + Sync>;

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

    /// The service that the path names.
    pub fn find(&self, path: &str) -> Option<&Call> {
        let (name, _) = path.strip_prefix('/')?.split_once('/')?;
        self.0.get(name)
    }
}
