//! Short ways to ask and to look at what came back.

use futures::StreamExt as _;
use mediary_client::{
    Error, TextRequest, target,
    v1::{self, text_event::Kind, text_service_client::TextServiceClient},
};
use tonic::Status;
use tonic_types::StatusExt as _;

use super::House;

/// A question to a model.
pub fn question(model: &str, text: &str) -> TextRequest {
    TextRequest::new(target::model(model)).user(text)
}

/// Everything a stream gave: the events in order, and the failure it ended with.
#[derive(Debug, Default)]
pub struct Heard {
    pub events: Vec<v1::TextEvent>,
    pub failure: Option<Error>,
}

impl Heard {
    pub fn kinds(&self) -> impl Iterator<Item = &Kind> {
        self.events.iter().filter_map(|event| event.kind.as_ref())
    }

    pub fn text(&self) -> String {
        let texts = self.kinds().filter_map(|kind| match kind {
            Kind::TextDelta(delta) => Some(delta.text.as_str()),
            _ => None,
        });
        texts.collect()
    }

    pub fn started(&self) -> &v1::Started {
        let found = self.kinds().find_map(|kind| match kind {
            Kind::Started(started) => Some(started),
            _ => None,
        });
        found.expect("the stream has started")
    }

    pub fn finished(&self) -> &v1::Finished {
        match self.kinds().last() {
            Some(Kind::Finished(finished)) => finished,
            other => panic!("not finished: {other:?}; {:?}", self.failure),
        }
    }

    pub fn failed(&self) -> &v1::Failed {
        match self.kinds().last() {
            Some(Kind::Failed(failed)) => failed,
            other => panic!("not failed: {other:?}; {:?}", self.failure),
        }
    }

    /// How many terminal events came: one, always.
    pub fn terminals(&self) -> usize {
        self.kinds().filter(|kind| matches!(kind, Kind::Finished(_) | Kind::Failed(_))).count()
    }

    pub fn reason(&self) -> String {
        let failure = self.failure.as_ref().expect("a failure");
        failure.reason().to_owned()
    }
}

/// Streams an answer to its end through the Rust client.
pub async fn listen(house: &House, request: impl Into<v1::StreamTextRequest>) -> Heard {
    let mut heard = Heard::default();
    let mut stream = match house.client().stream(request).await {
        Ok(stream) => stream,
        Err(failure) => return Heard { failure: Some(failure), ..heard },
    };
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => heard.events.push(event),
            Err(failure) => heard.failure = Some(failure),
        }
    }
    heard
}

/// A stub over a bare HTTP/2 connection. tonic's own channel watches `grpc-timeout` as well, and
/// would end the call before the server is seen to.
pub fn without_a_timer(house: &House) -> TextServiceClient<Bare> {
    let http = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .http2_only(true)
        .build_http();
    TextServiceClient::with_origin(http, house.url().parse().unwrap())
}

pub type Bare = hyper_util::client::legacy::Client<
    hyper_util::client::legacy::connect::HttpConnector,
    tonic::body::Body,
>;

/// What a bare status says: the reason, and the fields with what is wrong.
pub fn said(status: &Status) -> (String, Vec<(String, String)>) {
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.clone()).unwrap_or_default();
    let fields = details.bad_request().map(|bad| {
        let fields = bad.field_violations.iter();
        fields.map(|one| (one.field.clone(), one.description.clone())).collect()
    });
    (reason, fields.unwrap_or_default())
}
