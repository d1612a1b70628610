//! Plays a recorded exchange through the real server and compares what a caller sees with what
//! the recording says.

mod plain;
pub mod question;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use mediary_client::v1::{self, FinishReason, UsageSource, part, text_event::Kind as Event};
use serde_json::{Value, json};

use super::{
    House, Reply, Vendor,
    ask::{self, Heard},
    recordings::Case,
};

/// Wires that this build speaks, each with the path that follows a provider's base URL and, where
/// it is not that of every provider which has such cases, with its dialect. Gemini's path names the
/// model and the method.
const WIRES: [(&str, &str, &str); 6] = [
    ("openai-chat", "/chat/completions", ""),
    ("openai-responses", "/responses", "openai_responses"),
    ("anthropic-messages", "/v1/messages", ""),
    ("ollama", "/api/chat", ""),
    ("gemini", "/models/{model}:{method}", ""),
    ("cohere-v2", "/v2/chat", ""),
];

/// Whether the case is a text exchange of a wire that is built. A refusal looks the same at every
/// endpoint of a vendor, so one recorded at another endpoint is played at the one we call.
pub fn is_supported(case: &Case) -> bool {
    matches!(case.operation.trim_end_matches("_stream"), "chat" | "responses" | "generate")
        && (suffix(case).is_some() || (case.response.status >= 400 && has_row(&case.provider)))
}

/// The path of the wire that the case was recorded on, where it is built.
fn suffix(case: &Case) -> Option<String> {
    let (_, path, _) = WIRES.iter().find(|(name, ..)| *name == wire(case))?;
    let method = if case.streams() { "streamGenerateContent?alt=sse" } else { "generateContent" };
    Some(path.replace("{model}", &asked_model(case)).replace("{method}", method))
}

pub fn wire(case: &Case) -> &str {
    case.protocol.trim_end_matches("-sse").trim_end_matches("-ndjson")
}

fn dialect(case: &Case) -> &'static str {
    WIRES.iter().find(|(name, ..)| *name == wire(case)).map_or("", |(.., dialect)| *dialect)
}

/// Accounts of the stage at Azure, one for each version of the API.
pub const AZURE_VERSIONED: &str = "azure-at-";

/// The deployment of an older address of Azure.
fn deployment(case: &Case) -> Option<&str> {
    case.request.path.strip_prefix("/openai/deployments/")?.split('/').next()
}

pub fn has_row(provider: &str) -> bool {
    row_path(provider).exists()
}

fn catalog_row(provider: &str) -> String {
    std::fs::read_to_string(row_path(provider)).expect("a row of the catalog")
}

fn row_path(provider: &str) -> PathBuf {
    let catalog = Path::new(env!("CARGO_MANIFEST_DIR")).join("server/catalog/providers");
    catalog.join(format!("{provider}.toml"))
}

/// The row that serves a case: compatible servers are told apart by the name of the case, and a
/// vendor without a row is played by the plainest one of its dialect.
pub fn provider_of(case: &Case) -> String {
    if case.provider == "azure" && case.request.path.starts_with("/models/") {
        return "azure-inference".to_owned();
    }
    if let (Some(_), Some((_, version))) =
        (deployment(case), case.request.path.split_once("api-version="))
    {
        return format!("{AZURE_VERSIONED}{version}");
    }
    // Ollama's server speaks OpenAI's chat as well, as any compatible one does.
    let is_native = case.provider != "ollama" || case.protocol.contains("ollama");
    if has_row(&case.provider) && is_native {
        return case.provider.clone();
    }
    let name = case.name.rsplit('/').next().unwrap_or_default();
    let rows = [
        ("llamacpp", "llama-cpp"),
        ("gpustack", "gpustack"),
        ("litellm", "litellm"),
        ("hf-router", "huggingface"),
    ];
    let row = rows.iter().find(|(prefix, _)| name.starts_with(prefix));
    row.map_or("vllm", |(_, row)| row).to_owned()
}

const KEY: &str = "key-of-the-test";

/// A server whose providers are all played by one vendor, with a model row for every model that
/// the cases speak of.
pub struct Stage {
    pub house: House,
    pub vendor: Vendor,
}

impl Stage {
    pub async fn new(cases: &[Case]) -> Self {
        Self::priced(cases, "").await
    }

    /// With prices for every model, as a row writes them.
    pub async fn priced(cases: &[Case], prices: &str) -> Self {
        let vendor = Vendor::start().await;
        let mut plan = House::plan();
        let mut models: BTreeMap<String, BTreeSet<(String, bool, &str)>> = BTreeMap::new();
        for case in cases {
            models.entry(provider_of(case)).or_default().insert((
                asked_model(case),
                case.streams(),
                dialect(case),
            ));
        }
        let mut accounts = String::new();
        for (provider, models) in models {
            let place = if provider == "azure-inference" { "/base/models" } else { "/base" };
            accounts.push_str(&format!(
                "[[accounts]]\nid = \"{provider}-test\"\nprovider = \"{provider}\"\n\
                 api_key = \"env:TEST_KEY\"\nbase_uri = \"{}{place}\"\n",
                vendor.url()
            ));
            if let Some(version) = provider.strip_prefix(AZURE_VERSIONED) {
                accounts.push_str(&format!("settings.api_version = \"{version}\"\n"));
                let row = catalog_row("azure").replace("\"azure\"", &format!("{provider:?}"));
                plan = plan.row(&format!("providers/{provider}.toml"), row);
            }
            let rows: String = models
                .iter()
                .map(|(id, streams, dialect)| model_row(id, *streams, dialect, prices))
                .collect();
            plan = plan.row(&format!("models/{provider}.toml"), rows);
        }
        let house = plan
            .config(&accounts)
            .env("TEST_KEY", KEY)
            // Refused keys and rate limits are of one recording, not of the next.
            .env("MEDIARY__OUTBOUND__ACCOUNT_HEALTH", "false")
            .start();
        Self { house, vendor }
    }

    /// Plays a case once in pieces of `piece` bytes, and says what is not as recorded.
    pub async fn play(&self, case: &Case, piece: usize) -> Vec<String> {
        let reply = || reply(case, piece);
        let mut wrong = Vec::new();
        self.vendor.replies([reply()]);
        let heard = ask::listen(&self.house, question::request(case)).await;
        wrong.extend(
            compare(case, &Seen::streamed(&heard)).into_iter().map(|w| format!("stream: {w}")),
        );
        if heard.terminals() != 1 {
            wrong.push(format!("stream: {} terminal events", heard.terminals()));
        }
        wrong.extend(self.compare_request(case));
        if piece == 0 {
            self.vendor.replies([reply()]);
            let v1::StreamTextRequest { target, messages, parameters, .. } =
                question::request(case);
            let request =
                v1::GenerateTextRequest { target, messages, parameters, ..Default::default() };
            let answer = self.house.client().generate(request).await;
            let seen = Seen::collected(answer.as_ref().map(Clone::clone));
            wrong.extend(compare(case, &seen).into_iter().map(|w| format!("unary: {w}")));
        }
        wrong
    }

    /// What we sent means what the recorded caller sent, as far as our request could say it.
    fn compare_request(&self, case: &Case) -> Vec<String> {
        let Some(asked) = self.vendor.asked().pop() else {
            return vec!["the vendor was not asked".to_owned()];
        };
        let mut wrong = Vec::new();
        let Some(suffix) = suffix(case) else { return wrong };
        let suffix = if case.provider == "azure" { case.request.path.clone() } else { suffix };
        if asked.path != format!("/base{suffix}") {
            wrong.push(format!("request: path is {}", asked.path));
        }
        if asked.path.contains(KEY) {
            wrong.push("request: the key lies in the address".to_owned());
        }
        let sent = asked.json();
        let (ours, theirs) =
            (plain::body(wire(case), &sent), plain::body(wire(case), &case.request.body));
        if question::turns_of(&theirs).is_empty() {
            // The recorder kept no request.
            return wrong;
        }
        if wire(case) != "gemini" && ours["stream"].as_bool().unwrap_or(false) != case.streams() {
            wrong.push("request: stream is not as recorded".to_owned());
        }
        for (what, of) in question::MEANINGS {
            let (ours, theirs) = (of(&ours), of(&theirs));
            // A deployment stands in the path, and the body's model is not looked at.
            if what == "model" && deployment(case).is_some() {
                continue;
            }
            if ours != theirs {
                wrong.push(format!("request: {what}: sent {ours}, recorded {theirs}"));
            }
        }
        wrong
    }
}

/// What the vendor's side answered.
pub fn reply(case: &Case, piece: usize) -> Reply {
    let mut reply = Reply::new(case.response.status, "", case.body()).in_pieces_of(piece);
    reply.headers = case
        .response
        .headers
        .iter()
        .filter(|(name, _)| is_content_header(name))
        .map(|(name, value)| (name.clone(), header_text(value)))
        .collect();
    reply
}

fn is_content_header(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    !matches!(
        name.as_str(),
        "content-length" | "transfer-encoding" | "connection" | "content-encoding"
    )
}

fn header_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(header_text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

pub fn asked_model(case: &Case) -> String {
    let in_path = case
        .request
        .path
        .split_once("/models/")
        .and_then(|(_, rest)| Some(rest.split_once(':')?.0));
    let named = deployment(case).or(case.request.body["model"].as_str()).or(in_path);
    named.unwrap_or("model").to_owned()
}

fn slug(model: &str, streams: bool, dialect: &str) -> String {
    let name: String = model
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .take(48)
        .collect();
    let how = if streams { "stream" } else { "whole" };
    format!("m-{}-{how}{}", name.trim_matches('-'), if dialect.is_empty() { "" } else { "-r" })
}

fn model_row(model: &str, streams: bool, dialect: &str, prices: &str) -> String {
    let streaming = if streams { r#""streaming", "# } else { "" };
    format!(
        "[[models]]\nid = {:?}\nprovider_model_id = {model:?}\ndialect = {dialect:?}\n\
         capabilities = [\"text-to-text\", \"image-to-text\"]\ninput_kinds = [\"text\", \"image\"]\n\
         output_kinds = [\"text\"]\n\
         features = [{streaming}\"tools\", \"json-schema\", \"vision\", \"reasoning\"]\n\
         prices = [{prices}]\n",
        slug(model, streams, dialect)
    )
}

// --- what a caller sees, beside what the recording says ---

#[derive(Default)]
struct Seen<'a> {
    text: String,
    reasoning: String,
    refusal: String,
    tools: Vec<(String, String, String)>,
    text_deltas: i64,
    finish: Option<(FinishReason, String)>,
    model: String,
    usage: Option<v1::TokenUsage>,
    cost: i64,
    failure: Option<&'a mediary_client::Error>,
    retryable: Option<bool>,
    is_stream: bool,
}

impl<'a> Seen<'a> {
    fn streamed(heard: &'a Heard) -> Self {
        let mut seen = Self { is_stream: true, ..Self::default() };
        let mut tools: BTreeMap<i32, (String, String, String)> = BTreeMap::new();
        for kind in heard.kinds() {
            match kind {
                Event::TextDelta(delta) => {
                    seen.text.push_str(&delta.text);
                    seen.text_deltas += 1;
                }
                Event::ReasoningDelta(delta) => {
                    if let Some(v1::reasoning_delta::Content::Text(text)) = &delta.content {
                        seen.reasoning.push_str(text);
                    }
                }
                Event::ToolCallDelta(delta) => {
                    let tool = tools.entry(delta.part_index).or_default();
                    tool.0.push_str(&delta.call_id);
                    tool.1.push_str(&delta.tool_name);
                    tool.2.push_str(&delta.arguments_json_delta);
                }
                Event::Finished(end) => {
                    seen.refusal.clone_from(&end.refusal);
                    seen.model.clone_from(&end.provider_model_id);
                    seen.usage.clone_from(&end.usage);
                    seen.cost = end.cost_pico_usd;
                    seen.finish = Some((end.finish_reason(), end.provider_finish_reason.clone()));
                }
                Event::Failed(failed) => {
                    seen.usage.clone_from(&failed.usage);
                    seen.cost = failed.cost_pico_usd;
                    seen.retryable = Some(failed.retryable);
                }
                _ => {}
            }
        }
        seen.tools = tools.into_values().collect();
        seen.failure = heard.failure.as_ref();
        seen
    }

    fn collected(answer: Result<v1::GenerateTextResponse, &'a mediary_client::Error>) -> Self {
        let answer = match answer {
            Ok(answer) => answer,
            Err(failure) => return Self { failure: Some(failure), ..Self::default() },
        };
        let mut seen = Self {
            finish: Some((answer.finish_reason(), answer.provider_finish_reason.clone())),
            refusal: answer.refusal,
            model: answer.provider_model_id,
            usage: answer.usage,
            cost: answer.cost_pico_usd,
            ..Self::default()
        };
        for part in answer.message.into_iter().flat_map(|message| message.parts) {
            match part.kind {
                Some(part::Kind::Text(text)) => seen.text.push_str(&text),
                Some(part::Kind::Reasoning(one)) => seen.reasoning.push_str(&one.text),
                Some(part::Kind::ToolCall(call)) => {
                    seen.tools.push((call.call_id, call.tool_name, call.arguments_json));
                }
                _ => {}
            }
        }
        seen
    }
}

fn compare(case: &Case, seen: &Seen<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut differ = |what: &str, is: Value, should: &Value| {
        if is != *should {
            wrong.push(format!("{what}: {is}, recorded {should}"));
        }
    };
    let has_pieces = case.succeeds() || seen.is_stream;
    if has_pieces {
        if let Some(text) = case.fact("text") {
            differ("text", json!(seen.text), text);
        }
        if let Some(reasoning) = case.fact("reasoning") {
            differ("reasoning", json!(seen.reasoning), reasoning);
        }
        if let Some(length) = case.fact("reasoning_length") {
            differ("reasoning length", json!(seen.reasoning.chars().count()), length);
        }
        if let (Some(deltas), true, true) =
            (case.fact("text_deltas"), seen.is_stream, case.fact("texts").is_none())
        {
            differ("text deltas", json!(seen.text_deltas), deltas);
        }
        if case.fact("tool_calls").is_some() || case.succeeds() {
            let none = json!([]);
            let should = case.fact("tool_calls").unwrap_or(&none);
            differ("tool calls", tools(&seen.tools, should), should);
        }
    }
    if case.succeeds() {
        if let Some(failure) = seen.failure {
            wrong.push(format!("failed: {failure:?}"));
            return wrong;
        }
        let (finish, native) =
            seen.finish.clone().unwrap_or((FinishReason::Unspecified, String::new()));
        let mut differ = |what: &str, is: Value, should: Option<&Value>| {
            if let Some(should) = should
                && is != *should
            {
                wrong.push(format!("{what}: {is}, recorded {should}"));
            }
        };
        differ("finish reason", json!(finish_word(finish)), case.fact("finish_reason"));
        differ("native finish reason", json!(native), case.fact("native_finish_reason"));
        differ("refusal", json!(seen.refusal), case.fact("refusal"));
        differ("model", json!(seen.model), case.fact("model"));
    } else {
        wrong.extend(compare_failure(case, seen));
    }
    wrong.extend(compare_usage(case, seen));
    wrong
}

fn compare_usage(case: &Case, seen: &Seen<'_>) -> Vec<String> {
    // The unary call that fails has no message to carry numbers.
    if !case.succeeds() && !seen.is_stream {
        return Vec::new();
    }
    let usage = seen.usage.clone().unwrap_or_default();
    let mut wrong = Vec::new();
    for (name, is) in [
        ("input_tokens", Some(usage.input_tokens)),
        ("output_tokens", Some(usage.output_tokens)),
        ("cached_input_tokens", usage.cached_input_tokens),
        ("cache_write_tokens", usage.cache_write_tokens),
        ("reasoning_tokens", usage.reasoning_tokens),
    ] {
        let Some(should) = case.number_fact(name) else { continue };
        if is != Some(should) {
            wrong.push(format!("{name}: {is:?}, recorded {should}"));
        }
    }
    if let Some(should) = case.fact("cost").and_then(Value::as_f64) {
        // The models of the stage have no prices: the cost is what the vendor says.
        let is = seen.cost as f64 / 1e12;
        if (is - should).abs() > 1e-12 {
            wrong.push(format!("cost: {is}, recorded {should}"));
        }
    }
    let is_reported = usage.source() == UsageSource::Reported;
    if case.succeeds() && case.fact("input_tokens").is_none() && is_reported {
        wrong.push(format!("usage is made up: {usage:?}"));
    }
    wrong
}

/// How a failure differs from the recorded one.
pub fn differs(case: &Case, failure: &mediary_client::Error) -> Vec<String> {
    compare_failure(case, &Seen { failure: Some(failure), ..Seen::default() })
}

fn compare_failure(case: &Case, seen: &Seen<'_>) -> Vec<String> {
    let Some(failure) = seen.failure else {
        return vec![format!("did not fail, but ended with {:?}", seen.finish)];
    };
    let mut wrong = Vec::new();
    let told = failure.metadata();
    let told = |key: &str| told.get(key).cloned().unwrap_or_default();
    for (fact, key) in [
        ("error_message", "upstreamMessage"),
        ("error_type", "upstreamType"),
        ("error_code", "upstreamCode"),
        ("error_param", "upstreamParam"),
        ("error_kind", "upstreamKind"),
    ] {
        let Some(should) = case.text_fact(fact) else { continue };
        let is = told(key);
        let is_cut = is.len() >= 500 && should.starts_with(&is);
        if is != should && !is_cut {
            wrong.push(format!("{fact}: {is:?}, recorded {should:?}"));
        }
    }
    // Of an expired deadline a bare status leaves it to the caller.
    let is_open = seen.retryable.is_none() && failure.reason() == "UPSTREAM_TIMEOUT";
    if let Some(should) = case.fact("retryable").and_then(Value::as_bool).filter(|_| !is_open) {
        let is = seen.retryable.unwrap_or_else(|| failure.is_retryable());
        if is != should {
            wrong.push(format!("retryable: {is}, recorded {should}"));
        }
    }
    if let Some(should) = case.number_fact("retry_after_ms") {
        let is = failure.retry_after().map(|wait| wait.as_millis());
        if is != u128::try_from(should).ok() {
            wrong.push(format!("retry_after_ms: {is:?}, recorded {should}"));
        }
    }
    let is_truncated = case.fact("truncated").and_then(Value::as_bool) == Some(true);
    if is_truncated && failure.reason() != "UPSTREAM_TRUNCATED" {
        wrong.push(format!("cut stream: {failure:?}"));
    }
    if seen.finish.is_some() {
        wrong.push("a failed answer was finished".to_owned());
    }
    wrong
}

/// An id that the recorded answer lacks (null) is one of ours: there must be one.
fn tools(tools: &[(String, String, String)], should: &Value) -> Value {
    let tools = tools.iter().enumerate().map(|(at, (id, name, arguments))| {
        let arguments = match serde_json::from_str::<Value>(arguments) {
            _ if arguments.is_empty() => json!({}),
            Ok(arguments) => arguments,
            Err(_) => json!({ "$unparsed": arguments }),
        };
        let is_ours = should[at].is_object() && should[at]["id"].is_null() && !id.is_empty();
        let id = if is_ours { Value::Null } else { json!(id) };
        json!({ "id": id, "name": name, "arguments": arguments })
    });
    Value::Array(tools.collect())
}

fn finish_word(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::ContentFilter => "content_filter",
        _ => "other",
    }
}
