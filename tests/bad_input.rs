//! What a caller can get wrong is refused before anybody is paid, with a code, a reason and the
//! path of every field that is wrong; both ways of asking refuse alike.

mod support;

use std::time::Duration;

use mediary_client::{
    message, target,
    v1::{
        self, MessageRole, asset_ref::Source, part::Kind as Part, response_format::Format,
        text_event::Kind, tool_choice::Choice,
    },
};
use support::{
    House, Reply,
    ask::{self, listen, question},
    vendors::{ANTHROPIC_HELLO, BARE, CAREFUL, OPENAI_HELLO, QUICK, Street, follow},
};
use tokio::time::timeout;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

type Request = v1::StreamTextRequest;
/// What is wrong, how to make it so, and the one field that is named.
type Row = (&'static str, fn(&mut Request), &'static str);

const PNG: &[u8] =
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89";

fn sound() -> Request {
    question("sandbox-text", "say hello").into()
}

fn whole(request: &Request) -> v1::GenerateTextRequest {
    let Request { target, messages, parameters, labels, request_id, .. } = request.clone();
    v1::GenerateTextRequest { target, messages, parameters, labels, request_id }
}

/// Refused by both calls in the same words, before any event.
async fn refused(house: &House, request: Request) -> Status {
    let unary = house.client().raw().text().generate_text(whole(&request)).await;
    let (events, end) = follow(house, request).await;
    assert_eq!(events, [], "something was sent before the refusal");
    let streamed = end.expect_err("the stream is refused");
    let unary = unary.expect_err("the call is refused");
    assert_eq!((unary.code(), unary.message()), (streamed.code(), streamed.message()));
    assert_eq!(ask::said(&unary), ask::said(&streamed));
    let domain = streamed.get_error_details().error_info().map(|info| info.domain.clone());
    assert_eq!(domain.as_deref(), Some("mediary.dev"));
    assert!(streamed.get_error_details().retry_info().is_none(), "waiting does not help");
    streamed
}

fn fields(status: &Status) -> Vec<String> {
    ask::said(status).1.into_iter().map(|(field, _)| field).collect()
}

async fn check(rows: &[Row], code: Code, reason: &str) {
    let house = House::new();
    let mut wrong = Vec::new();
    for (what, spoil, field) in rows {
        let mut request = sound();
        spoil(&mut request);
        let status = refused(&house, request).await;
        let (is, violations) = ask::said(&status);
        let names: Vec<_> = violations.iter().map(|(field, _)| field.as_str()).collect();
        if (status.code(), is.as_str(), names.as_slice()) != (code, reason, &[*field]) {
            wrong.push(format!("{what}: {:?} {is} {violations:?}", status.code()));
        }
        let details = status.get_error_details();
        let fact = details.error_info().and_then(|info| info.metadata.get("field"));
        if code == Code::InvalidArgument && fact.map(String::as_str) != Some(*field) {
            wrong.push(format!("{what}: the fact `field` is {fact:?}"));
        }
        if violations.iter().any(|(_, what)| what.is_empty()) {
            wrong.push(format!("{what}: nothing is said about the field"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn check_fields(rows: &[Row]) {
    check(rows, Code::InvalidArgument, "FIELD_INVALID").await;
}

fn parameters(request: &mut Request) -> &mut v1::TextParameters {
    request.parameters.get_or_insert_default()
}

fn say(request: &mut Request, role: MessageRole, part: Part) {
    request.messages.push(message::of(role, [part]));
}

fn only(request: &mut Request, role: MessageRole, part: Part) {
    request.messages.clear();
    say(request, role, part);
}

fn tool(name: &str) -> v1::Tool {
    v1::Tool { tool_name: name.to_owned(), ..v1::Tool::default() }
}

fn call(arguments: &str) -> Part {
    Part::ToolCall(v1::ToolCall {
        call_id: "call-1".to_owned(),
        tool_name: "weather".to_owned(),
        arguments_json: arguments.to_owned(),
    })
}

fn result(call_id: &str, parts: Vec<v1::Part>) -> Part {
    Part::ToolResult(v1::ToolResult { call_id: call_id.to_owned(), parts, is_error: false })
}

fn reasoning(provider: &str, text: &str, state: &[u8]) -> Part {
    Part::Reasoning(v1::Reasoning {
        text: text.to_owned(),
        opaque_state: state.to_vec().into(),
        provider: provider.to_owned(),
    })
}

fn from(source: Option<Source>) -> Part {
    Part::Asset(v1::AssetRef { source })
}

fn image(media_type: &str, content: impl Into<Vec<u8>>) -> Part {
    from(Some(Source::Inline(v1::InlineAsset {
        media_type: media_type.to_owned(),
        content: content.into().into(),
    })))
}

fn schema(json: &str) -> Option<v1::ResponseFormat> {
    let schema = v1::JsonSchemaFormat { schema_json: json.to_owned(), ..Default::default() };
    Some(v1::ResponseFormat { format: Some(Format::JsonSchema(schema)) })
}

fn choice(choice: Choice) -> Option<v1::ToolChoice> {
    Some(v1::ToolChoice { choice: Some(choice) })
}

fn deep(levels: usize) -> String {
    format!("{}{{}}{}", "{\"not\":".repeat(levels - 1), "}".repeat(levels - 1))
}

#[tokio::test]
async fn a_conversation_must_be_one() {
    check_fields(&[
        ("no message", |r| r.messages.clear(), "messages"),
        ("nothing but instructions", |r| r.messages = vec![message::system("be kind")], "messages"),
        ("a message without parts", |r| r.messages[0].parts.clear(), "messages[0].parts"),
        ("a part of no kind", |r| r.messages[0].parts[0].kind = None, "messages[0].parts[0]"),
        ("no role", |r| r.messages[0].role = 0, "messages[0].role"),
        ("a role that nobody knows", |r| r.messages[0].role = 99, "messages[0].role"),
        (
            "an empty text",
            |r| say(r, MessageRole::User, Part::Text(String::new())),
            "messages[1].parts[0].text",
        ),
        ("too many messages", |r| r.messages = vec![message::user("hi"); 2_001], "messages"),
        (
            "too many parts",
            |r| r.messages[0].parts = vec![v1::Part { kind: Some(Part::Text("a".into())) }; 4_097],
            "messages",
        ),
        (
            "too much text",
            |r| say(r, MessageRole::User, Part::Text("a".repeat(2 << 20))),
            "messages",
        ),
    ])
    .await;
}

#[tokio::test]
async fn parts_stand_where_they_belong_and_are_whole() {
    check_fields(&[
        (
            "a tool call of the user",
            |r| say(r, MessageRole::User, call("{}")),
            "messages[1].parts[0]",
        ),
        (
            "reasoning of the user",
            |r| say(r, MessageRole::User, reasoning("", "hm", b"")),
            "messages[1].parts[0]",
        ),
        (
            "an image of the assistant",
            |r| say(r, MessageRole::Assistant, image("", PNG)),
            "messages[1].parts[0]",
        ),
        (
            "a tool's result of the user",
            |r| say(r, MessageRole::User, result("call-1", Vec::new())),
            "messages[1].parts[0]",
        ),
        (
            "arguments that are a list",
            |r| say(r, MessageRole::Assistant, call("[1]")),
            "messages[1].parts[0].tool_call.arguments_json",
        ),
        (
            "arguments that stop half way",
            |r| say(r, MessageRole::Assistant, call("{\"city\":\"Os")),
            "messages[1].parts[0].tool_call.arguments_json",
        ),
        (
            "a call without an id",
            |r| {
                say(
                    r,
                    MessageRole::Assistant,
                    Part::ToolCall(v1::ToolCall {
                        tool_name: "weather".to_owned(),
                        ..Default::default()
                    }),
                );
            },
            "messages[1].parts[0].tool_call.call_id",
        ),
        (
            "a call of no tool",
            |r| {
                say(
                    r,
                    MessageRole::Assistant,
                    Part::ToolCall(v1::ToolCall { call_id: "a".to_owned(), ..Default::default() }),
                );
            },
            "messages[1].parts[0].tool_call.tool_name",
        ),
        (
            "a result of no call",
            |r| say(r, MessageRole::Tool, result("", Vec::new())),
            "messages[1].parts[0].tool_result.call_id",
        ),
        (
            "a result that holds a call",
            |r| {
                let part = v1::Part { kind: Some(call("{}")) };
                say(r, MessageRole::Tool, result("call-1", vec![part]));
            },
            "messages[1].parts[0].tool_result.parts[0]",
        ),
        (
            "too much sealed state",
            |r| {
                let state = vec![7; (512 << 10) + 1];
                say(r, MessageRole::Assistant, reasoning("sandbox", "", &state));
            },
            "messages[1].parts[0].reasoning.opaque_state",
        ),
    ])
    .await;
}

#[tokio::test]
async fn numbers_stay_within_their_bounds() {
    check_fields(&[
        ("hot", |r| parameters(r).temperature = Some(3.0), "parameters.temperature"),
        ("cold", |r| parameters(r).temperature = Some(-0.1), "parameters.temperature"),
        ("no number", |r| parameters(r).temperature = Some(f64::NAN), "parameters.temperature"),
        ("no nucleus", |r| parameters(r).top_p = Some(0.0), "parameters.top_p"),
        ("more than all", |r| parameters(r).top_p = Some(1.1), "parameters.top_p"),
        ("top none", |r| parameters(r).top_k = Some(0), "parameters.top_k"),
        (
            "too frequent",
            |r| parameters(r).frequency_penalty = Some(2.5),
            "parameters.frequency_penalty",
        ),
        (
            "endless presence",
            |r| parameters(r).presence_penalty = Some(f64::NEG_INFINITY),
            "parameters.presence_penalty",
        ),
        (
            "no output",
            |r| parameters(r).max_output_tokens = Some(0),
            "parameters.max_output_tokens",
        ),
        (
            "less than no thought",
            |r| {
                let reasoning =
                    v1::ReasoningOptions { budget_tokens: Some(-1), ..Default::default() };
                parameters(r).reasoning = Some(reasoning);
            },
            "parameters.reasoning.budget_tokens",
        ),
        (
            "nine stops",
            |r| parameters(r).stop = (0..9).map(|n| n.to_string()).collect(),
            "parameters.stop",
        ),
        ("an empty stop", |r| parameters(r).stop = vec![String::new()], "parameters.stop"),
    ])
    .await;
}

#[tokio::test]
async fn tools_have_names_of_their_own_and_can_be_chosen() {
    check_fields(&[
        (
            "too many",
            |r| parameters(r).tools = (0..129).map(|n| tool(&format!("t{n}"))).collect(),
            "parameters.tools",
        ),
        (
            "the same name twice",
            |r| parameters(r).tools = vec![tool("a"), tool("b"), tool("a")],
            "parameters.tools[2].tool_name",
        ),
        (
            "a name with a space",
            |r| parameters(r).tools = vec![tool("get weather")],
            "parameters.tools[0].tool_name",
        ),
        ("no name", |r| parameters(r).tools = vec![tool("")], "parameters.tools[0].tool_name"),
        (
            "a name that is too long",
            |r| parameters(r).tools = vec![tool(&"a".repeat(65))],
            "parameters.tools[0].tool_name",
        ),
        (
            "a choice that is no tool",
            |r| {
                parameters(r).tools = vec![tool("a")];
                parameters(r).tool_choice = choice(Choice::ToolName("b".to_owned()));
            },
            "parameters.tool_choice.tool_name",
        ),
        (
            "some tool, of none",
            |r| parameters(r).tool_choice = choice(Choice::Required(v1::RequiredChoice {})),
            "parameters.tool_choice.required",
        ),
        (
            "a format without its schema",
            |r| parameters(r).response_format = schema(""),
            "parameters.response_format.json_schema.schema_json",
        ),
        (
            "a format with a bad name",
            |r| {
                let format = v1::JsonSchemaFormat {
                    name: "my answer".to_owned(),
                    schema_json: "{}".to_owned(),
                    ..Default::default()
                };
                let format = Some(Format::JsonSchema(format));
                parameters(r).response_format = Some(v1::ResponseFormat { format });
            },
            "parameters.response_format.json_schema.name",
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_schema_must_be_a_json_schema() {
    const FORMAT: &str = "parameters.response_format.json_schema.schema_json";
    const TOOL: &str = "parameters.tools[0].parameters_schema_json";
    let rows: &[Row] = &[
        ("no JSON", |r| parameters(r).response_format = schema("{type: object}"), FORMAT),
        ("no object", |r| parameters(r).response_format = schema("[1]"), FORMAT),
        ("no type", |r| parameters(r).response_format = schema(r#"{"type":"thing"}"#), FORMAT),
        ("too deep", |r| parameters(r).response_format = schema(&deep(33)), FORMAT),
        ("far too deep", |r| parameters(r).response_format = schema(&deep(5_000)), FORMAT),
        (
            "too long",
            |r| {
                let long = format!(r#"{{"description":"{}"}}"#, "a".repeat(64 << 10));
                parameters(r).response_format = schema(&long);
            },
            FORMAT,
        ),
        (
            "a tool's",
            |r| {
                let parameters_schema_json = r#"{"required":"city"}"#.to_owned();
                parameters(r).tools = vec![v1::Tool { parameters_schema_json, ..tool("a") }];
            },
            TOOL,
        ),
    ];
    check(rows, Code::InvalidArgument, "SCHEMA_INVALID").await;
}

#[tokio::test]
async fn provider_options_are_an_object_and_leave_the_requests_own_keys_alone() {
    const FIELD: &str = "parameters.provider_options_json[sandbox]";
    fn options(r: &mut Request, json: &str) {
        parameters(r).provider_options_json =
            [("sandbox".to_owned(), json.to_owned())].into_iter().collect();
    }
    check_fields(&[
        ("a list", |r| options(r, "[]"), FIELD),
        ("half an object", |r| options(r, "{\"a\":"), FIELD),
        ("another model", |r| options(r, r#"{"model":"gpt-9"}"#), FIELD),
        ("other messages", |r| options(r, r#"{"messages":[]}"#), FIELD),
        ("no stream", |r| options(r, r#"{"stream":false}"#), FIELD),
        ("too deep", |r| options(r, &deep(33)), FIELD),
        (
            "too long",
            |r| options(r, &format!("\"{}\"", "a".repeat(64 << 10))),
            "parameters.provider_options_json",
        ),
    ])
    .await;
}

#[tokio::test]
async fn labels_and_ids_are_short() {
    fn label(r: &mut Request, key: &str, value: &str) {
        r.labels.insert(key.to_owned(), value.to_owned());
    }
    check_fields(&[
        ("too many", |r| (0..65).for_each(|n| label(r, &format!("l{n}"), "v")), "labels"),
        ("a long key", |r| label(r, &"k".repeat(64), "v"), "labels"),
        ("an empty key", |r| label(r, "", "v"), "labels"),
        ("a long value", |r| label(r, "k", &"v".repeat(257)), "labels"),
        ("no UUID", |r| r.request_id = "the first try".to_owned(), "request_id"),
        (
            "a UUID in braces",
            |r| r.request_id = "{01890a5d-ac96-774b-bcce-b302099a8057}".to_owned(),
            "request_id",
        ),
    ])
    .await;
}

#[tokio::test]
async fn labels_are_measured_in_characters() {
    let house = House::new();
    let mut request = sound();
    request.labels.insert("ž".repeat(63), "ž".repeat(256));
    house.client().generate(whole(&request)).await.expect("labels of the longest allowed size");
}

#[tokio::test]
async fn a_target_names_something_that_callers_may_choose() {
    fn aim(r: &mut Request, target: v1::ModelTarget) {
        r.target = Some(target);
    }
    check_fields(&[
        (
            "too many fallbacks",
            |r| {
                let models = vec!["sandbox-reasoning".to_owned(); 5];
                let fallback = Some(v1::Fallback { models, ..Default::default() });
                aim(r, v1::ModelTarget { fallback, ..target::model("sandbox-text") });
            },
            "target.fallback.models",
        ),
        (
            "an account",
            |r| {
                let account = "accounts/main".to_owned();
                aim(r, v1::ModelTarget { account, ..target::model("sandbox-text") });
            },
            "target.account",
        ),
        ("a model without a name", |r| aim(r, target::model("")), "target.model"),
        ("a preset without a name", |r| aim(r, target::preset("")), "target.preset"),
        ("a route without a name", |r| aim(r, target::route("")), "target.route"),
        (
            "the default of something else",
            |r| {
                let auto = v1::AutoTarget { capability: "text-to-video".to_owned() };
                aim(
                    r,
                    v1::ModelTarget {
                        target: Some(v1::model_target::Target::Auto(auto)),
                        ..Default::default()
                    },
                );
            },
            "target.auto.capability",
        ),
    ])
    .await;
}

#[tokio::test]
async fn what_does_not_exist_is_not_found_by_name() {
    let house = House::new();
    let auto = target::auto();
    let fallback = Some(v1::Fallback { models: vec!["nobody".to_owned()], ..Default::default() });
    let with_fallback = v1::ModelTarget { fallback, ..target::model("sandbox-text") };
    for (target, kind, name) in [
        (target::model("nobody"), "mediary.v1.Model", "nobody"),
        (
            target::model("providers/openai/models/nobody"),
            "mediary.v1.Model",
            "providers/openai/models/nobody",
        ),
        (target::model("providers/nobody/models/quick"), "mediary.v1.Provider", "providers/nobody"),
        (target::preset("nobody"), "mediary.admin.v1.Preset", "presets/nobody"),
        (target::route("nobody"), "mediary.admin.v1.Route", "routes/nobody"),
        (with_fallback, "mediary.v1.Model", "nobody"),
    ] {
        let status = refused(&house, Request { target: Some(target), ..sound() }).await;
        assert_eq!(status.code(), Code::NotFound, "{name}");
        assert_eq!(ask::said(&status).0, "RESOURCE_NOT_FOUND", "{name}");
        let details = status.get_error_details();
        let resource = details.resource_info().expect("what does not exist");
        assert_eq!(
            (resource.resource_type.as_str(), resource.resource_name.as_str()),
            (kind, name)
        );
    }
    let status = refused(&house, Request { target: Some(auto), ..sound() }).await;
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(ask::said(&status).0, "NO_USABLE_ACCOUNT");
}

#[tokio::test]
async fn a_slip_of_the_pen_and_a_retired_model_come_with_what_is_meant() {
    let retired = "[[models]]\nid = \"old\"\nprovider_model_id = \"old\"\nlifecycle = \"retired\"\n\
                   replacement = \"sandbox-text\"\ncapabilities = [\"text-to-text\"]\n\
                   input_kinds = [\"text\"]\noutput_kinds = [\"text\"]\n";
    let house = House::plan().row("models/sandbox.toml", retired).start();
    let ask = |name: &str| Request { target: Some(target::model(name)), ..sound() };
    let fact = |status: &Status, key: &str| {
        status.get_error_details().error_info().unwrap().metadata.get(key).cloned()
    };

    let slip = refused(&house, ask("sandbox-txt")).await;
    let gone = refused(&house, ask("old")).await;

    let meant = Some("providers/sandbox/models/sandbox-text".to_owned());
    assert_eq!(fact(&slip, "didYouMean"), meant);
    assert_eq!((gone.code(), fact(&gone, "replacement")), (Code::NotFound, meant));
    assert_eq!(fields(&gone), ["target.model"]);
}

#[tokio::test]
async fn a_model_without_an_account_names_the_variable_to_set() {
    let house = House::new();
    let model = "providers/anthropic/models/claude-haiku-4-5";
    let status = refused(&house, Request { target: Some(target::model(model)), ..sound() }).await;
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(ask::said(&status).0, "NO_USABLE_ACCOUNT");
    let details = status.get_error_details();
    let facts = &details.error_info().unwrap().metadata;
    assert_eq!(
        (facts["provider"].as_str(), facts["requiredEnv"].as_str()),
        ("anthropic", "ANTHROPIC_API_KEY")
    );
}

#[tokio::test]
async fn assets_of_the_server_and_addresses_are_refused_by_their_own_reasons() {
    check(
        &[(
            "a stored asset",
            |r| {
                only(r, MessageRole::User, from(Some(Source::Asset("assets/a1".to_owned()))));
            },
            "messages[0].parts[0].asset.asset",
        )],
        Code::FailedPrecondition,
        "FEATURE_DISABLED",
    )
    .await;
    check(
        &[(
            "an address",
            |r| {
                let uri = "http://169.254.169.254/latest/meta-data".to_owned();
                only(r, MessageRole::User, from(Some(Source::SourceUri(uri))));
            },
            "messages[0].parts[0].asset.source_uri",
        )],
        Code::InvalidArgument,
        "SOURCE_URI_FORBIDDEN",
    )
    .await;
    check_fields(&[
        (
            "an asset from nowhere",
            |r| only(r, MessageRole::User, from(None)),
            "messages[0].parts[0].asset",
        ),
        (
            "an image without bytes",
            |r| only(r, MessageRole::User, image("image/png", "")),
            "messages[0].parts[0].asset.inline.content",
        ),
        (
            "an image over 1 MiB",
            |r| {
                let mut content = PNG.to_vec();
                content.resize((1 << 20) + 1, 0);
                only(r, MessageRole::User, image("image/png", content));
            },
            "messages[0].parts[0].asset.inline.content",
        ),
    ])
    .await;
}

#[tokio::test]
async fn an_image_is_what_its_bytes_are() {
    const FIELD: &str = "messages[0].parts[0].asset.inline.content";
    check(
        &[
            (
                "noise",
                |r| only(r, MessageRole::User, image("image/png", "not a picture at all")),
                FIELD,
            ),
            (
                "a PNG by another name",
                |r| only(r, MessageRole::User, image("image/jpeg", PNG)),
                FIELD,
            ),
            (
                "a document by the name of a picture",
                |r| only(r, MessageRole::User, image("image/png", "%PDF-1.7\n")),
                FIELD,
            ),
        ],
        Code::InvalidArgument,
        "UNSUPPORTED_MEDIA_TYPE",
    )
    .await;

    let house = House::new();
    let mut content = PNG.to_vec();
    content.resize(1 << 20, 0);
    let mut request = sound();
    only(&mut request, MessageRole::User, image("", content));
    let answer = house.client().generate(whole(&request)).await.expect("1 MiB is not too much");
    assert!(format!("{answer:?}").contains("image/png"), "{answer:?}");
}

#[tokio::test]
async fn what_only_streams_can_ask_for_is_checked_too() {
    let house = House::new();
    let grace = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    let invalid = (Code::InvalidArgument, "FIELD_INVALID");
    let resumable = Request { resumable: true, ..sound() };
    for (is, field, request) in [
        (
            invalid,
            "disconnect_grace",
            Request { disconnect_grace: grace(601), ..resumable.clone() },
        ),
        (invalid, "disconnect_grace", Request { disconnect_grace: grace(-1), ..resumable }),
    ] {
        let (events, end) = follow(&house, request).await;
        let status = end.expect_err("it is refused");
        assert_eq!(events, []);
        assert_eq!((status.code(), ask::said(&status).0.as_str()), is);
        assert_eq!(fields(&status), [field]);
    }
}

#[tokio::test]
async fn everything_that_is_wrong_is_said_at_once() {
    let house = House::new();
    let mut request = sound();
    request.request_id = "again".to_owned();
    request.labels.insert(String::new(), String::new());
    request.messages[0].role = 0;
    request.messages[0].parts.push(v1::Part::default());
    say(&mut request, MessageRole::User, call("[]"));
    parameters(&mut request).temperature = Some(9.0);
    parameters(&mut request).response_format = schema("[]");
    request.target = Some(v1::ModelTarget { account: "a".to_owned(), ..target::model("") });

    let status = refused(&house, request).await;

    let mut named = fields(&status);
    named.sort();
    assert_eq!(
        named,
        [
            "labels",
            "messages[0].parts[1]",
            "messages[0].role",
            "messages[1].parts[0]",
            "messages[1].parts[0].tool_call.arguments_json",
            "parameters.response_format.json_schema.schema_json",
            "parameters.temperature",
            "request_id",
            "target.account",
            "target.model",
        ]
    );
    assert_eq!(status.code(), Code::InvalidArgument);
}

/// Details travel in headers, and clients refuse long ones: gRPC's own at 8 KiB.
#[tokio::test]
async fn a_refusal_stays_short_however_much_is_wrong() {
    let house = House::new();
    let mut many = sound();
    many.messages = vec![v1::Message::default(); 2_000];
    let mut long = sound();
    parameters(&mut long).provider_options_json =
        [("p".repeat(60_000), "[]".to_owned())].into_iter().collect();
    let unknown = Request { target: Some(target::model("né".repeat(500_000))), ..sound() };
    for (request, code, reason) in [
        (many, Code::InvalidArgument, "FIELD_INVALID"),
        (long, Code::InvalidArgument, "FIELD_INVALID"),
        (unknown, Code::NotFound, "RESOURCE_NOT_FOUND"),
    ] {
        let refusal = timeout(Duration::from_secs(10), refused(&house, request)).await;
        let status = refusal.expect("it is refused at once");
        assert_eq!((status.code(), ask::said(&status).0.as_str()), (code, reason));
        let (details, message) = (status.details().len(), status.message().len());
        assert!(details <= 4 << 10, "{details} bytes of details");
        assert!(message <= 1 << 10, "{message} bytes of message");
    }
}

#[tokio::test]
async fn a_parameter_that_the_model_lacks_is_refused_before_the_vendor_is_asked() {
    let street = Street::new().await;
    let mut request: Request = question(BARE, "say hello").into();
    parameters(&mut request).tools = vec![tool("weather")];
    parameters(&mut request).response_format = schema("{}");
    let reasoning = v1::ReasoningOptions { effort: "high".to_owned(), ..Default::default() };
    parameters(&mut request).reasoning = Some(reasoning);

    let status = refused(&street.house, request).await;

    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(ask::said(&status).0, "UNSUPPORTED_PARAMETER");
    let mut named = fields(&status);
    named.sort();
    assert_eq!(
        named,
        ["parameters.reasoning", "parameters.response_format.json_schema", "parameters.tools"]
    );
    assert_eq!(status.get_error_details().error_info().unwrap().metadata["model"], BARE);
    assert!(street.openai.asked().is_empty());
}

#[tokio::test]
async fn a_parameter_that_the_model_lacks_is_left_out_with_a_warning_where_that_is_asked_for() {
    let street = Street::new().await;
    street.openai.always(Reply::sse(OPENAI_HELLO));
    let mut request: Request = question(BARE, "say hello").into();
    parameters(&mut request).tools = vec![tool("weather")];
    parameters(&mut request).temperature = Some(0.5);
    parameters(&mut request).unsupported_parameter_policy =
        v1::UnsupportedParameterPolicy::Drop.into();

    let heard = listen(&street.house, request.clone()).await;
    let answer = street.house.client().generate(whole(&request)).await.unwrap();

    let warnings = &heard.started().warnings;
    assert_eq!(&answer.warnings, warnings);
    let told: Vec<_> = warnings.iter().map(|one| (one.code.as_str(), one.field.as_str())).collect();
    assert_eq!(told, [("parameter-dropped", "parameters.tools")]);
    assert!(warnings.iter().all(|one| !one.detail.is_empty()));
    for asked in street.openai.asked() {
        let body = asked.json();
        assert_eq!(body.get("tools"), None);
        assert_eq!(body["temperature"], 0.5);
    }
    assert_eq!(heard.text(), "Hello!");
}

#[tokio::test]
async fn a_parameter_that_the_wire_lacks_is_treated_the_same() {
    let street = Street::new().await;
    street.anthropic.always(Reply::sse(ANTHROPIC_HELLO));
    let mut request: Request = question(CAREFUL, "say hello").into();
    parameters(&mut request).seed = Some(7);

    let status = refused(&street.house, request.clone()).await;
    parameters(&mut request).unsupported_parameter_policy =
        v1::UnsupportedParameterPolicy::Drop.into();
    let heard = listen(&street.house, request).await;

    assert_eq!(fields(&status), ["parameters.seed"]);
    assert_eq!(heard.started().warnings[0].field, "parameters.seed");
    let [asked] = street.anthropic.asked().try_into().expect("the refusal asked nobody");
    assert_eq!(asked.json().get("seed"), None);
}

/// A picture is what was asked about: without it the answer would be about something else.
#[tokio::test]
async fn an_image_is_never_left_out() {
    let street = Street::new().await;
    let mut request: Request = question(BARE, "what is this?").into();
    say(&mut request, MessageRole::User, image("", PNG));
    parameters(&mut request).unsupported_parameter_policy =
        v1::UnsupportedParameterPolicy::Drop.into();

    let status = refused(&street.house, request).await;

    assert_eq!(ask::said(&status).0, "UNSUPPORTED_PARAMETER");
    assert!(street.openai.asked().is_empty());
}

#[tokio::test]
async fn reasoning_of_another_provider_is_left_out_with_a_warning() {
    let street = Street::new().await;
    street.openai.always(Reply::sse(OPENAI_HELLO));
    let conversation = question(QUICK, "say hello")
        .message(message::of(
            MessageRole::Assistant,
            [reasoning("anthropic", "a private thought", b"sealed"), Part::Text("Hello.".into())],
        ))
        .user("again");

    let heard = listen(&street.house, conversation.clone()).await;
    let answer = street.house.client().generate(conversation).await.unwrap();

    let warnings = &heard.started().warnings;
    assert_eq!(&answer.warnings, warnings);
    let told: Vec<_> = warnings.iter().map(|one| (one.code.as_str(), one.field.as_str())).collect();
    assert_eq!(told, [("reasoning-dropped", "messages")]);
    for asked in street.openai.asked() {
        let body = String::from_utf8(asked.body).unwrap();
        assert!(!body.contains("private thought") && !body.contains("sealed"), "{body}");
        assert!(body.contains("Hello.") && body.contains("again"), "{body}");
    }
}

#[tokio::test]
async fn a_providers_own_reasoning_goes_back_to_it_without_a_warning() {
    let street = Street::new().await;
    street.anthropic.always(Reply::sse(ANTHROPIC_HELLO));
    let conversation = question(CAREFUL, "say hello")
        .message(message::of(
            MessageRole::Assistant,
            [reasoning("anthropic", "a private thought", b"sealed"), Part::Text("Hello.".into())],
        ))
        .user("again");

    let heard = listen(&street.house, conversation).await;

    assert_eq!(heard.started().warnings, []);
    let body = street.anthropic.last_asked().json();
    assert_eq!(
        body["messages"][1]["content"][0],
        serde_json::json!({
            "type": "thinking", "thinking": "a private thought", "signature": "sealed",
        })
    );
}

#[tokio::test]
async fn the_largest_request_that_is_allowed_is_answered() {
    let house = House::new();
    let mut request = sound();
    request.messages = vec![message::user("hi"); 2_000];
    parameters(&mut request).stop = (0..8).map(|n| format!("stop {n}")).collect();
    parameters(&mut request).temperature = Some(2.0);
    parameters(&mut request).top_p = Some(1.0);
    parameters(&mut request).tools = (0..128).map(|n| tool(&format!("t{n}"))).collect();
    parameters(&mut request).tool_choice = choice(Choice::None(v1::NoneChoice {}));
    request.labels = (0..64).map(|n| (format!("l{n}"), "v".repeat(256))).collect();

    let heard = listen(&house, request).await;

    assert!(matches!(heard.kinds().last(), Some(Kind::Finished(_))), "{:?}", heard.failure);
}
