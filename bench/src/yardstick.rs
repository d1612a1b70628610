//! The yardstick: the least program that does what a text call through Mediary does.
//!
//! tonic on one side, hyper on the other: `GenerateText` and `StreamText` become a streamed OpenAI
//! chat completion, and its SSE becomes text or numbered events with usage at the end. Nothing is
//! checked, routed, counted, priced, limited or logged, and the vendor is taken at its word.
//! What Mediary costs beyond this is what Mediary's own work costs.

use std::{
    error::Error,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use http_body_util::Full;
use hyper::{
    Request as HttpRequest, Uri,
    body::{Body as _, Incoming},
    header::CONTENT_TYPE,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use mediary_proto::v1::{
    FinishReason, Finished, GenerateTextRequest, GenerateTextResponse, Message, MessageRole,
    ModelTarget, Part, Started, StreamTextRequest, StreamTextResponse, TextDelta, TextEvent,
    TokenUsage, UsageSource,
    model_target::Target,
    part, text_event,
    text_service_server::{TextService, TextServiceServer},
};
use serde::{Deserialize, Serialize};
use tonic::{Request, Response, Status, codegen::BoxStream, transport::Server};

const USAGE: &str = "usage: mediary-bench-yardstick ADDRESS:PORT VENDOR_BASE_URI";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // house: what is skipped are items of an iterator.
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(base)) = (arguments.next(), arguments.next()) else {
        return Err(USAGE.into());
    };
    let address: SocketAddr = address.parse()?;
    let uri: Uri = format!("{base}/chat/completions").parse()?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let service = TextServiceServer::new(Yardstick { client, uri });
    Ok(Server::builder().tcp_nodelay(true).add_service(service).serve(address).await?)
}

struct Yardstick {
    client: Client<HttpConnector, Full<Bytes>>,
    uri: Uri,
}

#[tonic::async_trait]
impl TextService for Yardstick {
    async fn generate_text(
        &self,
        request: Request<GenerateTextRequest>,
    ) -> Result<Response<GenerateTextResponse>, Status> {
        let GenerateTextRequest { target, messages, .. } = request.into_inner();
        let mut answer = self.ask(target.as_ref(), &messages).await?;
        let mut text = String::new();
        while let Some(piece) = answer.next().await.transpose()? {
            text.push_str(&piece);
        }
        let parts = vec![Part { kind: Some(part::Kind::Text(text)) }];
        Ok(Response::new(GenerateTextResponse {
            message: Some(Message { role: MessageRole::Assistant.into(), parts }),
            finish_reason: FinishReason::Stop.into(),
            usage: answer.usage.take(),
            ..GenerateTextResponse::default()
        }))
    }

    async fn stream_text(
        &self,
        request: Request<StreamTextRequest>,
    ) -> Result<Response<BoxStream<StreamTextResponse>>, Status> {
        let StreamTextRequest { target, messages, .. } = request.into_inner();
        let answer = self.ask(target.as_ref(), &messages).await?;
        Ok(Response::new(Box::pin(Events { answer, sequence: 0, over: false })))
    }
}

impl Yardstick {
    async fn ask(
        &self,
        target: Option<&ModelTarget>,
        messages: &[Message],
    ) -> Result<Answer, Status> {
        let Some(Target::Model(name)) = target.and_then(|target| target.target.as_ref()) else {
            return Err(Status::invalid_argument("name a model"));
        };
        let body = serde_json::to_vec(&Ask {
            model: name.rsplit('/').next().unwrap_or_default(),
            messages: messages.iter().map(Turn::of).collect(),
            stream: true,
            stream_options: StreamOptions { include_usage: true },
        })
        .map_err(failed)?;
        let request = HttpRequest::post(self.uri.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(body))
            .map_err(failed)?;
        let response = self.client.request(request).await.map_err(failed)?;
        if !response.status().is_success() {
            return Err(Status::unavailable(response.status().to_string()));
        }
        Ok(Answer { body: response.into_body(), rest: Bytes::new(), usage: None })
    }
}

fn failed(error: impl std::fmt::Display) -> Status {
    Status::unavailable(error.to_string())
}

/// The pieces of text of one answer; `usage` is set when it has ended.
struct Answer {
    body: Incoming,
    /// What came and is not read yet.
    rest: Bytes,
    usage: Option<TokenUsage>,
}

impl Answer {
    /// Takes whole lines until one holds text.
    fn next_piece(&mut self) -> Result<Option<String>, Status> {
        while let Some(end) = memchr::memchr(b'\n', &self.rest) {
            let line = self.rest.split_to(end + 1);
            let Some(data) = line.strip_prefix(b"data: ") else { continue };
            if data.starts_with(b"[DONE]") {
                continue;
            }
            let chunk: Chunk<'_> = serde_json::from_slice(data).map_err(failed)?;
            self.usage = chunk.usage.map(Usage::total).or(self.usage.take());
            let choice = chunk.choices.into_iter().next();
            if let Some(text) = choice.and_then(|choice| choice.delta.content) {
                return Ok(Some(text.to_owned()));
            }
        }
        Ok(None)
    }
}

impl Stream for Answer {
    type Item = Result<String, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(piece) = this.next_piece().transpose() {
                return Poll::Ready(Some(piece));
            }
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(failed(error)))),
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    this.rest = if this.rest.is_empty() {
                        data
                    } else {
                        [this.rest.as_ref(), data.as_ref()].concat().into()
                    };
                }
            }
        }
    }
}

/// The same as events of the contract: `started`, the deltas, `finished`.
struct Events {
    answer: Answer,
    sequence: i64,
    over: bool,
}

impl Stream for Events {
    type Item = Result<StreamTextResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let kind = if self.over {
            return Poll::Ready(None);
        } else if self.sequence == 0 {
            text_event::Kind::Started(Started::default())
        } else {
            match ready!(self.answer.poll_next_unpin(cx)?) {
                Some(text) => text_event::Kind::TextDelta(TextDelta { part_index: 0, text }),
                None => {
                    self.over = true;
                    text_event::Kind::Finished(Finished {
                        finish_reason: FinishReason::Stop.into(),
                        usage: self.answer.usage.take(),
                        ..Finished::default()
                    })
                }
            }
        };
        self.sequence += 1;
        let event = TextEvent { sequence: self.sequence, kind: Some(kind) };
        Poll::Ready(Some(Ok(StreamTextResponse { event: Some(event) })))
    }
}

// --- wire ---

#[derive(Serialize)]
struct Ask<'a> {
    model: &'a str,
    messages: Vec<Turn<'a>>,
    stream: bool,
    stream_options: StreamOptions,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
struct Turn<'a> {
    role: &'static str,
    content: &'a str,
}

impl<'a> Turn<'a> {
    fn of(message: &'a Message) -> Self {
        let role = match message.role() {
            MessageRole::System => "system",
            MessageRole::Assistant => "assistant",
            _ => "user",
        };
        let content = match message.parts.first().and_then(|part| part.kind.as_ref()) {
            Some(part::Kind::Text(text)) => text,
            _ => "",
        };
        Self { role, content }
    }
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    choices: Vec<Choice<'a>>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    delta: Delta<'a>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    content: Option<&'a str>,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: i64,
    completion_tokens: i64,
}

impl Usage {
    fn total(self) -> TokenUsage {
        TokenUsage {
            input_tokens: self.prompt_tokens,
            output_tokens: self.completion_tokens,
            source: UsageSource::Reported.into(),
            ..TokenUsage::default()
        }
    }
}
