//! Calls as a program calls Mediary: tonic, many calls on one connection.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use mediary_proto::v1::{
    GenerateTextRequest, Message, MessageRole, ModelTarget, Part, StreamTextRequest,
    StreamTextResponse, model_target::Target, part, text_event::Kind,
    text_service_client::TextServiceClient,
};
use tonic::{
    Request, Streaming,
    transport::{Channel, Endpoint},
};

use crate::{QUESTION, Result, SYSTEM};

#[derive(Clone)]
pub struct Connection {
    client: TextServiceClient<Channel>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true);
        Ok(Self { client: TextServiceClient::new(endpoint.connect().await?) })
    }

    /// Tokens that the answer claims.
    pub async fn whole(&mut self, model: &str) -> Result<i64> {
        let (target, messages) = conversation(model);
        let request = GenerateTextRequest { target, messages, ..GenerateTextRequest::default() };
        let answer = self.client.generate_text(request).await?.into_inner();
        if answer.message.is_none_or(|message| message.parts.is_empty()) {
            return Err("an answer without text".into());
        }
        Ok(answer.usage.unwrap_or_default().output_tokens)
    }

    /// Tokens that came, each told to `seen`.
    pub async fn stream(&mut self, model: &str, mut seen: impl FnMut()) -> Result<i64> {
        let mut events = self.events(model).await?;
        let (mut tokens, mut count) = (0, 0);
        while let Some(event) = events.message().await?.and_then(|message| message.event) {
            count += 1;
            match event.kind {
                Some(Kind::TextDelta(_)) => {
                    tokens += 1;
                    seen();
                }
                Some(Kind::Finished(end)) => {
                    let claimed = end.usage.unwrap_or_default().output_tokens;
                    if event.sequence != count || claimed != tokens {
                        return Err("a stream that lost events".into());
                    }
                    // The status follows.
                    while events.message().await?.is_some() {}
                    return Ok(tokens);
                }
                Some(Kind::Failed(end)) => {
                    return Err(end.status.unwrap_or_default().message.into());
                }
                _ => {}
            }
        }
        Err("a stream without an end".into())
    }

    /// Opens a stream and reads its first token; the rest is for the caller to leave.
    pub async fn hold(&mut self, model: &str) -> Result<Streaming<StreamTextResponse>> {
        let mut events = self.events(model).await?;
        while let Some(message) = events.message().await? {
            if let Some(Kind::TextDelta(_)) = message.event.and_then(|event| event.kind) {
                return Ok(events);
            }
        }
        Err("a stream without a token".into())
    }

    /// How much later than its deadline a stream ends that would not end by itself.
    pub async fn expire(&mut self, model: &str, deadline: Duration) -> Result<Duration> {
        let (target, messages) = conversation(model);
        let request = StreamTextRequest { target, messages, ..StreamTextRequest::default() };
        let mut request = Request::new(request);
        let timeout = format!("{}m", deadline.as_millis()).parse()?;
        request.metadata_mut().insert("grpc-timeout", timeout);
        let begin = Instant::now();
        let mut events = self.client.stream_text(request).await?.into_inner();
        while let Some(event) = events.message().await?.and_then(|message| message.event) {
            if let Some(Kind::Failed(_)) = event.kind {
                return Ok(begin.elapsed().saturating_sub(deadline));
            }
        }
        Err("a stream without an end".into())
    }

    async fn events(&mut self, model: &str) -> Result<Streaming<StreamTextResponse>> {
        let (target, messages) = conversation(model);
        let request = StreamTextRequest { target, messages, ..StreamTextRequest::default() };
        Ok(self.client.stream_text(request).await?.into_inner())
    }
}

fn conversation(model: &str) -> (Option<ModelTarget>, Vec<Message>) {
    let model = format!("providers/bench/models/{model}");
    let target = ModelTarget { target: Some(Target::Model(model)), ..ModelTarget::default() };
    let says = |role: MessageRole, text: &str| Message {
        role: role.into(),
        parts: vec![Part { kind: Some(part::Kind::Text(text.to_owned())) }],
    };
    let messages = vec![says(MessageRole::System, SYSTEM), says(MessageRole::User, QUESTION)];
    (Some(target), messages)
}
