//! A server with a vendor that the test plays for each wire, models of the test's own at each, and
//! answers in every wire.

use std::time::Duration;

use mediary_client::v1::{self, text_event::Kind};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _, pb};

use super::{House, Vendor, ask::question, house::Plan};

pub const OPENAI_KEY: &str = "sk-openai-key-of-the-test";
pub const ANTHROPIC_KEY: &str = "sk-anthropic-key-of-the-test";
pub const GEMINI_KEY: &str = "AIza-gemini-key-of-the-test";
pub const COHERE_KEY: &str = "cohere-key-of-the-test";
const OTHER_KEY: &str = "another-key-of-the-test";

/// OpenAI: takes everything that its wire can say.
pub const QUICK: &str = "providers/openai/models/quick";
/// OpenAI: text and nothing else.
pub const BARE: &str = "providers/openai/models/bare";
/// OpenAI, asked with the Responses API: takes everything that its wire can say.
pub const DEEP: &str = "providers/openai/models/deep";
/// DeepSeek, which wants its thoughts back: takes everything that OpenAI's wire can say.
pub const FRANK: &str = "providers/deepseek/models/frank";
/// Ollama: takes everything that its wire can say.
pub const HOMELY: &str = "providers/ollama/models/homely";
/// Anthropic: takes everything that its wire can say.
pub const CAREFUL: &str = "providers/anthropic/models/careful";
/// Gemini: takes everything that its wire can say.
pub const SWIFT: &str = "providers/gemini/models/swift";
/// Cohere: takes everything that its wire can say.
pub const CLEAR: &str = "providers/cohere/models/clear";

/// Picodollars of a token in and out at the models of the test.
pub const IN: i64 = 1_000_000;
pub const OUT: i64 = 2_000_000;

/// How calls fail, as code and reason.
pub const PROTOCOL: (Code, &str) = (Code::Internal, "UPSTREAM_PROTOCOL_ERROR");
pub const TRUNCATED: (Code, &str) = (Code::Unavailable, "UPSTREAM_TRUNCATED");
pub const UNAVAILABLE: (Code, &str) = (Code::Unavailable, "UPSTREAM_UNAVAILABLE");
pub const TIMEOUT: (Code, &str) = (Code::DeadlineExceeded, "UPSTREAM_TIMEOUT");
pub const LIMITED: (Code, &str) = (Code::ResourceExhausted, "UPSTREAM_RATE_LIMITED");
pub const CREDENTIALS: (Code, &str) = (Code::FailedPrecondition, "CREDENTIALS_REJECTED");

/// "Hello!" with 9 tokens in and 2 out, in OpenAI's wire.
pub const OPENAI_HELLO: &str = concat!(
    "data: {\"model\":\"quick-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel\"}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"lo!\"}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2}}\n\n",
    "data: [DONE]\n\n",
);

/// The same in Anthropic's.
pub const ANTHROPIC_HELLO: &str = concat!(
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"careful-1\",",
    "\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,",
    "\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,",
    "\"delta\":{\"type\":\"text_delta\",\"text\":\"Hello!\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},",
    "\"usage\":{\"output_tokens\":2}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
);

/// The same in Gemini's.
pub const GEMINI_HELLO: &str = concat!(
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hel\"}]},\"index\":0}],",
    "\"usageMetadata\":{\"promptTokenCount\":9},\"modelVersion\":\"swift-1\"}\r\n\r\n",
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"lo!\"}]},\"finishReason\":\"STOP\"}],",
    "\"usageMetadata\":{\"promptTokenCount\":9,\"candidatesTokenCount\":2}}\r\n\r\n",
);

/// The same in Cohere's, which counts 500 tokens of its own and bills none of them.
pub const COHERE_HELLO: &str = concat!(
    "event: message-start\ndata: {\"type\":\"message-start\",\"delta\":{\"message\":{\"content\":[]}}}\n\n",
    "event: content-delta\ndata: {\"type\":\"content-delta\",\"index\":0,",
    "\"delta\":{\"message\":{\"content\":{\"text\":\"Hel\"}}}}\n\n",
    "event: content-delta\ndata: {\"type\":\"content-delta\",\"index\":0,",
    "\"delta\":{\"message\":{\"content\":{\"text\":\"lo!\"}}}}\n\n",
    "event: message-end\ndata: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"COMPLETE\",",
    "\"usage\":{\"billed_units\":{\"input_tokens\":9,\"output_tokens\":2},",
    "\"tokens\":{\"input_tokens\":509,\"output_tokens\":3}}}}\n\ndata: [DONE]\n\n",
);

/// The same in OpenAI's Responses API.
pub const RESPONSES_HELLO: &str = concat!(
    "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"model\":\"deep-1\",",
    "\"status\":\"in_progress\",\"output\":[]}}\n\n",
    "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",",
    "\"item_id\":\"m\",\"output_index\":0,\"content_index\":0,\"delta\":\"Hel\"}\n\n",
    "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",",
    "\"item_id\":\"m\",\"output_index\":0,\"content_index\":0,\"delta\":\"lo!\"}\n\n",
    "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"model\":\"deep-1\",",
    "\"status\":\"completed\",\"output\":[{\"type\":\"message\",\"id\":\"m\",\"role\":\"assistant\",",
    "\"content\":[{\"type\":\"output_text\",\"text\":\"Hello!\"}]}],",
    "\"usage\":{\"input_tokens\":9,\"output_tokens\":2}}}\n\n",
);

/// The same in Ollama's lines.
pub const OLLAMA_HELLO: &str = concat!(
    "{\"model\":\"homely-1\",\"message\":{\"role\":\"assistant\",\"content\":\"Hel\"},\"done\":false}\n",
    "{\"model\":\"homely-1\",\"message\":{\"role\":\"assistant\",\"content\":\"lo!\"},\"done\":false}\n",
    "{\"model\":\"homely-1\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,",
    "\"done_reason\":\"stop\",\"prompt_eval_count\":9,\"eval_count\":2}\n",
);

/// A refusal in OpenAI's words.
pub fn openai_error(kind: &str, code: &str, message: &str) -> Vec<u8> {
    let error = serde_json::json!({ "message": message, "type": kind, "code": code });
    serde_json::json!({ "error": error }).to_string().into_bytes()
}

/// The same in Anthropic's.
pub fn anthropic_error(kind: &str, message: &str) -> Vec<u8> {
    let error = serde_json::json!({ "type": kind, "message": message });
    serde_json::json!({ "type": "error", "error": error }).to_string().into_bytes()
}

/// The first token of the answer, and what follows instead of the rest.
pub fn after_the_first_token(rest: &str) -> String {
    let (first, _) = OPENAI_HELLO.split_once("\n\n").unwrap();
    format!("{first}\n\n{rest}")
}

/// A server and the vendors that it calls.
pub struct Street {
    pub house: House,
    pub openai: Vendor,
    pub anthropic: Vendor,
    pub gemini: Vendor,
    pub cohere: Vendor,
    pub deepseek: Vendor,
    pub ollama: Vendor,
}

impl Street {
    pub async fn new() -> Self {
        Self::with("").await
    }

    /// With more lines of configuration.
    pub async fn with(config: &str) -> Self {
        let (openai, anthropic) = (Vendor::start().await, Vendor::start().await);
        let (gemini, cohere) = (Vendor::start().await, Vendor::start().await);
        let (deepseek, ollama) = (Vendor::start().await, Vendor::start().await);
        let accounts = account("openai", OPENAI_KEY, &format!("{}/v1", openai.url()))
            + &account("anthropic", ANTHROPIC_KEY, &anthropic.url())
            + &account("gemini", GEMINI_KEY, &gemini.url())
            + &account("cohere", COHERE_KEY, &cohere.url())
            + &account("deepseek", OTHER_KEY, &deepseek.url())
            + &account("ollama", OTHER_KEY, &ollama.url());
        let house = rows(House::plan()).config(config).config(&accounts).start();
        Self { house, openai, anthropic, gemini, cohere, deepseek, ollama }
    }
}

/// An account named after its provider and its place.
pub fn account(provider: &str, key: &str, url: &str) -> String {
    let place = url.rsplit(':').next().unwrap().trim_end_matches("/v1");
    format!(
        "[[accounts]]\nid = \"{provider}-{place}\"\nprovider = \"{provider}\"\n\
         api_key = \"{key}\"\nbase_uri = \"{url}\"\n"
    )
}

/// The models of the test, over the built-in ones.
pub fn rows(plan: Plan) -> Plan {
    let all =
        "\"streaming\", \"tools\", \"json-schema\", \"json-object\", \"reasoning\", \"vision\"";
    let deep = row("deep", "\"text\", \"image\"", all) + "dialect = \"openai_responses\"\n";
    let openai = row("quick", "\"text\", \"image\"", all)
        + &row("bare", "\"text\"", "\"streaming\"")
        + &deep;
    // Each call is asked anew, whatever the one before has met.
    plan.env("MEDIARY__OUTBOUND__ACCOUNT_HEALTH", "false")
        .row("models/deepseek.toml", row("frank", "\"text\", \"image\"", all))
        .row("models/ollama.toml", row("homely", "\"text\", \"image\"", all))
        .row("models/openai.toml", openai)
        .row("models/anthropic.toml", row("careful", "\"text\", \"image\"", all))
        .row("models/gemini.toml", row("swift", "\"text\", \"image\"", all))
        .row("models/cohere.toml", row("clear", "\"text\", \"image\"", all))
}

/// A model at 1 USD per million tokens in and 2 out.
fn row(id: &str, inputs: &str, features: &str) -> String {
    format!(
        "[[models]]\nid = \"{id}\"\nprovider_model_id = \"{id}-1\"\n\
         capabilities = [\"text-to-text\", \"image-to-text\"]\ninput_kinds = [{inputs}]\n\
         output_kinds = [\"text\"]\nfeatures = [{features}]\nprices = [\n\
         {{ unit = \"input-token\", micro_usd_per_million = 1000000 }},\n\
         {{ unit = \"output-token\", micro_usd_per_million = 2000000 }},\n]\n"
    )
}

/// How a call failed, as every place that tells of it agrees.
#[derive(Debug)]
pub struct Failure {
    pub code: Code,
    pub reason: String,
    pub message: String,
    pub details: ErrorDetails,
    /// The text that came before it.
    pub text: String,
    pub events: Vec<v1::TextEvent>,
    pub failed: v1::Failed,
}

impl Failure {
    pub fn is(&self) -> (Code, &str) {
        (self.code, &self.reason)
    }

    /// How long the caller is told to wait.
    pub fn wait(&self) -> Option<Duration> {
        self.details.retry_info()?.retry_delay
    }

    pub fn fact(&self, key: &str) -> &str {
        let info = self.details.error_info().expect("an ErrorInfo");
        info.metadata.get(key).map_or("", String::as_str)
    }

    /// Everything a caller could read.
    pub fn all(&self) -> String {
        format!("{self:?}")
    }
}

/// Asks for a stream, then for the whole answer: the vendor must answer alike twice. Exactly one
/// terminal event ends the stream, and the event, the status after it and the status of the unary
/// call say the same.
pub async fn failure(house: &House, request: impl Into<v1::StreamTextRequest>) -> Failure {
    let request = request.into();
    let (events, status) = follow(house, request.clone()).await;
    let status = status.expect_err("the stream ends with a failure");
    let whole = v1::GenerateTextRequest {
        target: request.target,
        messages: request.messages,
        parameters: request.parameters,
        labels: request.labels,
        request_id: request.request_id,
    };
    let unary = house.client().raw().text().generate_text(whole).await.expect_err("it fails");

    let numbers: Vec<i64> = events.iter().map(|event| event.sequence).collect();
    assert_eq!(numbers, (1..).take(numbers.len()).collect::<Vec<i64>>());
    let is_end = |kind: &Kind| matches!(kind, Kind::Finished(_) | Kind::Failed(_));
    let kinds = events.iter().filter_map(|event| event.kind.as_ref());
    assert_eq!(kinds.filter(|kind| is_end(kind)).count(), 1, "{events:?}");
    let Some(Some(Kind::Failed(failed))) = events.last().map(|event| event.kind.clone()) else {
        panic!("the last event is no failure: {events:?}")
    };
    let in_band = failed.status.clone().expect("a status");
    let (code, message) = (status.code(), status.message().to_owned());
    assert_eq!((in_band.code, &in_band.message), (code as i32, &message));
    assert_eq!((unary.code(), unary.message()), (code, message.as_str()));
    let [in_band, after, unary] = [
        sorted(in_band.details),
        sorted(decoded(&status).details),
        sorted(decoded(&unary).details),
    ];
    assert_eq!(in_band, after, "the event and the status after it differ");
    assert_eq!(after, unary, "the stream and the unary call differ");
    let details = status.get_error_details();
    assert!(status.details().len() <= 4 << 10, "{} bytes of details", status.details().len());
    let info = details.error_info().expect("an ErrorInfo");
    assert_eq!(info.domain, "mediary.dev");
    let text = events.iter().filter_map(|event| match &event.kind {
        Some(Kind::TextDelta(delta)) => Some(delta.text.as_str()),
        _ => None,
    });
    Failure {
        code,
        reason: info.reason.clone(),
        message,
        text: text.collect(),
        details,
        events,
        failed,
    }
}

/// The failure of a plain question.
pub async fn failure_of(house: &House, model: &str) -> Failure {
    failure(house, question(model, "say hello")).await
}

/// Everything that the wire carries, without the Rust client's own rules.
pub async fn follow(
    house: &House,
    request: impl Into<v1::StreamTextRequest>,
) -> (Vec<v1::TextEvent>, Result<(), Status>) {
    let mut events = Vec::new();
    let mut stream = match house.client().raw().text().stream_text(request.into()).await {
        Ok(stream) => stream.into_inner(),
        Err(status) => return (events, Err(status)),
    };
    loop {
        match stream.message().await {
            Ok(Some(response)) => events.push(response.event.expect("an event")),
            Ok(None) => return (events, Ok(())),
            Err(status) => return (events, Err(status)),
        }
    }
}

fn decoded(status: &Status) -> pb::Status {
    prost::Message::decode(status.details()).expect("details that can be read")
}

/// Maps have no order on the wire; what they hold is compared.
fn sorted(details: Vec<prost_types::Any>) -> Vec<String> {
    let mut texts: Vec<String> = details
        .into_iter()
        .map(|any| match any.type_url.rsplit('.').next() {
            Some("ErrorInfo") => {
                let info: pb::ErrorInfo = prost::Message::decode(&any.value[..]).unwrap();
                let mut facts: Vec<_> = info.metadata.into_iter().collect();
                facts.sort();
                format!("{} {} {facts:?}", info.reason, info.domain)
            }
            _ => format!("{any:?}"),
        })
        .collect();
    texts.sort();
    texts
}
