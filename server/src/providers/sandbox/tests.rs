#[cfg(test)]
use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use mediary_domain::{
    Answer, AnswerPart, ChatEvent, Image, Kind, Message, Part, ReasoningOptions, Retry, Role,
    ToolCall, ToolResult, UsageSource,
};

use super::*;
use crate::provider::{Account, ModelRow, ProviderRow};

fn cx(model: &str) -> CallContext {
    let provider = "id = 'sandbox'\ndisplay_name = 'Sandbox'\ndialect = 'sandbox'";
    let row = format!(
        "id = '{model}'\nprovider_model_id = '{model}'\ncapabilities = ['text-to-text']\n\
         input_kinds = ['text']\noutput_kinds = ['text']\nmax_output_tokens = 200"
    );
    let provider: ProviderRow = toml::from_str(provider).unwrap();
    let model: ModelRow = toml::from_str(&row).unwrap();
    let account = Account::new("default".to_owned(), "", None);
    CallContext { provider: Arc::new(provider), model: Arc::new(model), account: Arc::new(account) }
}

fn ask(text: &str) -> ChatCall {
    let parts = vec![Part::Text(text.to_owned())];
    let messages = vec![Message { role: Role::User, parts }];
    ChatCall { messages, parameters: TextParameters::default() }
}

fn with_options(options: &str) -> ChatCall {
    let mut call = ask("say hello");
    call.parameters.provider_options = vec![("sandbox".to_owned(), options.to_owned())];
    call
}

fn with_tools(schemas: &[&str]) -> ChatCall {
    let mut call = ask("what is the weather?");
    let tools = schemas.iter().enumerate().map(|(index, schema)| Tool {
        tool_name: format!("tool_{index}"),
        description: String::new(),
        parameters_schema_json: (*schema).to_owned(),
        strict: false,
    });
    call.parameters.tools = tools.collect();
    call
}

/// The whole stream: its events, and the failure that ended it.
async fn events_of(model: &str, call: &ChatCall) -> (Vec<ChatEvent>, Option<Error>) {
    let sandbox = Sandbox::new(Clock::system());
    let mut stream = match sandbox.chat(&cx(model), call).await {
        Ok(stream) => stream,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let mut events = Vec::new();
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => events.push(event),
            Err(error) => {
                assert!(stream.next().await.is_none(), "a failure is the last event");
                return (events, Some(error));
            }
        }
    }
    (events, None)
}

async fn answer_to(call: &ChatCall) -> Answer {
    let (events, failure) = events_of("sandbox-text", call).await;
    assert!(failure.is_none(), "{failure:?}");
    added(events)
}

fn added(events: Vec<ChatEvent>) -> Answer {
    let mut answer = Answer::default();
    events.into_iter().for_each(|event| answer.add(event));
    answer
}

fn text_of(answer: &Answer) -> &str {
    match answer.parts.as_slice() {
        [] => "",
        [.., AnswerPart::Text(text)] => text,
        other => panic!("no text in {other:?}"),
    }
}

fn finish(answer: &Answer) -> (FinishReason, &str) {
    let (reason, native) = answer.finished.as_ref().unwrap();
    (*reason, native)
}

fn texts(events: &[ChatEvent]) -> usize {
    events.iter().filter(|event| matches!(event, ChatEvent::Text { .. })).count()
}

#[tokio::test]
async fn a_plain_hello_is_answered_in_words_and_counted() {
    let answer = answer_to(&ask("say hello")).await;
    let text = text_of(&answer);
    assert!(
        text.starts_with(
            "Hello! This is the sandbox, no model was asked. You said: \"say hello\". Some words"
        ),
        "{text}"
    );
    assert_eq!(answer.model, "sandbox-text");
    assert_eq!(finish(&answer), (FinishReason::Stop, "stop"));
    let usage = answer.usage.unwrap();
    assert_eq!((usage.input, usage.cached_input, usage.reasoning), (2, None, None));
    assert_eq!(usage.output, i64::try_from(text.split_whitespace().count()).unwrap());
    assert_eq!(usage.source, UsageSource::Reported);
}

#[tokio::test]
async fn the_same_request_gets_the_same_answer_and_another_one_another() {
    let (call, mut seeded) = (ask("one"), ask("one"));
    seeded.parameters.seed = Some(-5);
    let first = events_of("sandbox-text", &call).await.0;
    assert_eq!(first, events_of("sandbox-text", &call).await.0);
    assert_eq!(
        events_of("sandbox-text", &seeded).await.0,
        events_of("sandbox-text", &seeded).await.0
    );
    assert_ne!(first, events_of("sandbox-text", &seeded).await.0);
    let (one, two) = (answer_to(&ask("one")).await, answer_to(&ask("two")).await);
    assert_ne!(text_of(&one).split_once("on:"), text_of(&two).split_once("on:"));
}

#[tokio::test]
async fn the_limit_ends_an_answer_and_counts_every_token() {
    for (asked, most) in [(1, 1), (7, 7), (9000, 200)] {
        let mut call = with_options(r#"{"tokens": 5000}"#);
        call.parameters.max_output_tokens = Some(asked);
        let (events, _) = events_of("sandbox-text", &call).await;
        assert_eq!(texts(&events), most);
        let answer = added(events);
        assert_eq!(finish(&answer), (FinishReason::Length, "length"));
        assert_eq!(answer.usage.unwrap().output, i64::try_from(most).unwrap());
    }
    let (events, _) = events_of("sandbox-text", &with_options(r#"{"tokens": 33}"#)).await;
    assert_eq!(texts(&events), 33);
    assert_eq!(finish(&added(events)), (FinishReason::Stop, "stop"));
    let nothing = answer_to(&with_options(r#"{"tokens": 0}"#)).await;
    assert_eq!((text_of(&nothing), finish(&nothing)), ("", (FinishReason::Stop, "stop")));
}

#[tokio::test]
async fn a_stop_text_ends_the_answer_and_is_not_part_of_it() {
    let mut call = with_options(r#"{"text": "à la crème 🦀 brûlée et voilà"}"#);
    call.parameters.stop = vec!["voilà".to_owned(), " brû".to_owned(), "nowhere".to_owned()];
    let answer = answer_to(&call).await;
    assert_eq!(text_of(&answer), "à la crème 🦀");
    assert_eq!(finish(&answer), (FinishReason::Stop, "stop"));
}

#[tokio::test]
async fn a_conversation_is_answered_by_its_last_words_and_images_are_named() {
    let mut call = ask("first question");
    let image = |size| {
        Part::Image(Image {
            media_type: "image/png".to_owned(),
            content: Bytes::from(vec![7; size]),
        })
    };
    call.messages.extend([
        Message { role: Role::Assistant, parts: vec![Part::Text("an answer".to_owned())] },
        Message {
            role: Role::User,
            parts: vec![Part::Text("Is this a cat?".to_owned()), image(3), image(4000)],
        },
    ]);
    let answer = answer_to(&call).await;
    let expected = "This is the sandbox, no model was asked. You said: \"Is this a cat?\" With it came \
                    2 images: image/png (3 bytes), image/png (4000 bytes). Some words to go on:";
    assert!(text_of(&answer).starts_with(expected), "{}", text_of(&answer));
    assert_eq!(answer.usage.unwrap().input, 8);
}

#[tokio::test]
async fn a_tool_is_called_in_pieces_and_its_result_is_quoted() {
    let city = r#"{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}"#;
    let mut call = with_tools(&[city, ""]);
    let (events, _) = events_of("sandbox-text", &call).await;
    let pieces = events.iter().filter(|event| matches!(event, ChatEvent::ToolArguments { .. }));
    assert!(pieces.count() > 1);
    let answer = added(events);
    assert_eq!(finish(&answer), (FinishReason::ToolCalls, "tool_calls"));
    let [AnswerPart::ToolCall { call_id, tool_name, arguments_json }] = answer.parts.as_slice()
    else {
        panic!("{:?}", answer.parts)
    };
    assert!(call_id.starts_with("call_1_") && tool_name == "tool_0", "{call_id} {tool_name}");
    let arguments: Value = serde_json::from_str(arguments_json).unwrap();
    assert!(arguments["city"].is_string());

    let said = ToolCall {
        call_id: call_id.clone(),
        tool_name: tool_name.clone(),
        arguments_json: arguments_json.clone(),
    };
    let result = ToolResult {
        call_id: call_id.clone(),
        parts: vec![Part::Text("sunny, 21 °C".to_owned())],
        is_error: false,
    };
    call.messages.extend([
        Message { role: Role::Assistant, parts: vec![Part::ToolCall(said)] },
        Message { role: Role::Tool, parts: vec![Part::ToolResult(result)] },
    ]);
    let answer = answer_to(&call).await;
    let expected =
        "This is the sandbox, no model was asked. The tool tool_0 answered: \"sunny, 21 °C\".";
    assert!(text_of(&answer).starts_with(expected), "{}", text_of(&answer));
}

#[tokio::test]
async fn the_tool_choice_and_parallel_calls_are_followed() {
    let called = async |choice, parallel| {
        let mut call = with_tools(&["", "", ""]);
        call.parameters.tool_choice = choice;
        call.parameters.parallel_tool_calls = parallel;
        let parts = answer_to(&call).await.parts.into_iter();
        let names = parts.filter_map(|part| match part {
            AnswerPart::ToolCall { tool_name, arguments_json, .. } => {
                assert_eq!(arguments_json, "{}");
                Some(tool_name)
            }
            _ => None,
        });
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(called(ToolChoice::Auto, None).await, "tool_0");
    assert_eq!(called(ToolChoice::Auto, Some(false)).await, "tool_0");
    assert_eq!(called(ToolChoice::Required, Some(true)).await, "tool_0 tool_1");
    assert_eq!(called(ToolChoice::Tool("tool_2".to_owned()), Some(true)).await, "tool_2");
    assert_eq!(called(ToolChoice::None, Some(true)).await, "");
}

#[tokio::test]
async fn json_is_answered_as_json() {
    let mut call = ask("say hello");
    call.parameters.response_format = ResponseFormat::Json;
    let (events, _) = events_of("sandbox-text", &call).await;
    assert!(texts(&events) > 3);
    let value: Value = serde_json::from_str(text_of(&added(events))).unwrap();
    assert_eq!(value["sandbox"], true);
    assert!(value["answer"].as_str().unwrap().starts_with("Hello! This is the sandbox"));

    let format = |schema: &str| ResponseFormat::JsonSchema {
        name: String::new(),
        schema_json: schema.to_owned(),
        strict: true,
    };
    call.parameters.response_format = format(r#"{"type": "array", "items": {"const": 7}}"#);
    assert_eq!(text_of(&answer_to(&call).await), "[7]");
    call.parameters.response_format = format(r#"{"not": {}}"#);
    let (_, failure) = events_of("sandbox-text", &call).await;
    assert_eq!(failure.unwrap().kind(), Kind::SchemaInvalid);
}

#[tokio::test]
async fn reasoning_comes_first_with_its_state_and_is_counted() {
    let mut asked = ask("think");
    asked.parameters.reasoning =
        Some(ReasoningOptions { effort: Some("low".to_owned()), ..Default::default() });
    for (model, call) in [("sandbox-reasoning", ask("think")), ("sandbox-text", asked)] {
        let answer = added(events_of(model, &call).await.0);
        let [AnswerPart::Reasoning { text, state }, AnswerPart::Text(said)] =
            answer.parts.as_slice()
        else {
            panic!("{:?}", answer.parts)
        };
        assert!(text.starts_with("The sandbox pretends to think.") && state.len() == 8);
        let usage = answer.usage.unwrap();
        let count = |text: &str| i64::try_from(text.split_whitespace().count()).unwrap();
        assert_eq!(usage.reasoning, Some(count(text)));
        assert_eq!(usage.output, count(text) + count(said));
    }
    let mut none = ask("think");
    none.parameters.reasoning =
        Some(ReasoningOptions { budget_tokens: Some(0), ..Default::default() });
    assert_eq!(added(events_of("sandbox-reasoning", &none).await.0).parts.len(), 1);
}

#[tokio::test]
async fn an_answer_is_cut_or_fails_after_as_many_tokens_as_asked() {
    let (events, failure) = events_of("sandbox-text", &with_options(r#"{"cut_after": 4}"#)).await;
    assert_eq!((texts(&events), failure.unwrap().kind()), (4, Kind::UpstreamTruncated));
    assert!(!events.iter().any(|event| matches!(event, ChatEvent::Usage(_))));

    let late = r#"{"cut_after": 9, "fail": {"kind": "overloaded", "after_tokens": 3}}"#;
    let (events, failure) = events_of("sandbox-text", &with_options(late)).await;
    let failure = failure.unwrap();
    assert_eq!((texts(&events), failure.kind()), (3, Kind::UpstreamUnavailable));
    assert!(!failure.facts().contains_key("httpStatus"));

    let beyond = with_options(r#"{"text": "only this", "cut_after": 99}"#);
    let (events, failure) = events_of("sandbox-text", &beyond).await;
    assert_eq!((texts(&events), failure.unwrap().kind()), (2, Kind::UpstreamTruncated));
}

#[tokio::test]
async fn a_failure_looks_like_any_vendors() {
    let fails = r#"{"fail": {"kind": "rate_limited", "retry_after_ms": 2500}}"#;
    let (events, failure) = events_of("sandbox-text", &with_options(fails)).await;
    let failure = failure.unwrap();
    assert!(events.is_empty());
    assert_eq!(failure.kind(), Kind::UpstreamRateLimited);
    assert_eq!(failure.retry(), Retry::Later(Duration::from_millis(2500)));
    assert_eq!(failure.facts()["httpStatus"], "429");
    assert_eq!(failure.facts()["upstreamKind"], "rate_limited");
}

#[tokio::test]
async fn a_rate_below_one_is_drawn_from_the_seed() {
    let fails = async |seed, rate: f64| {
        let options = format!(r#"{{"fail": {{"kind": "server_error", "rate": {rate}}}}}"#);
        let mut call = with_options(&options);
        call.parameters.seed = Some(seed);
        events_of("sandbox-text", &call).await.1.is_some()
    };
    let mut failed = 0;
    for seed in 0..200 {
        assert!(!fails(seed, 0.0).await && fails(seed, 1.0).await);
        assert_eq!(fails(seed, 0.3).await, fails(seed, 0.3).await);
        failed += usize::from(fails(seed, 0.3).await);
    }
    assert!((40..80).contains(&failed), "{failed}");
}

#[tokio::test]
async fn usage_can_be_kept_back() {
    let answer = answer_to(&with_options(r#"{"usage": "none"}"#)).await;
    assert_eq!(answer.usage, None);
    assert_eq!(finish(&answer), (FinishReason::Stop, "stop"));
}

#[tokio::test]
async fn a_stream_hangs_where_asked_and_an_unpaced_one_never_waits() {
    let sandbox = Sandbox::new(Clock::system());
    let call = with_options(r#"{"hang_after": 2}"#);
    let mut stream = sandbox.chat(&cx("sandbox-text"), &call).await.unwrap();
    let mut seen = 0;
    while let Some(event) = stream.next().now_or_never() {
        assert!(event.unwrap().is_ok());
        seen += 1;
    }
    assert_eq!(seen, 3, "the model's name and two tokens");

    let mut stream = sandbox.chat(&cx("sandbox-text"), &ask("go")).await.unwrap();
    while let Some(event) = stream.next().now_or_never().expect("an unpaced stream is ready") {
        assert!(event.is_ok());
    }
}

#[tokio::test]
async fn a_pace_holds_a_stream_back() {
    let options = r#"{"text": "a b c d e", "latency_ms": 30, "tokens_per_second": 100}"#;
    let sandbox = Sandbox::new(Clock::system());
    let clock = Clock::system();
    let mut stream = sandbox.chat(&cx("sandbox-text"), &with_options(options)).await.unwrap();
    assert!(stream.next().now_or_never().is_none(), "nothing before the latency is over");
    let start = clock.now();
    let rest = stream.collect::<Vec<_>>().await;
    assert!(clock.now() - start >= Duration::from_millis(60), "30 ms, then four gaps of 10");
    assert!(matches!(rest.last(), Some(Ok(ChatEvent::Finished { .. }))));
}
