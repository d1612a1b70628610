//! Whole conversations: a tool is called and its result goes back, thoughts go back to whoever
//! wrote them and to nobody else, and a vendor takes over from another half way. What we send is
//! compared.

mod support;

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use mediary_client::{
    Error, TextRequest, message,
    v1::{self, FinishReason, MessageRole, part::Kind as Part, text_event::Kind},
};
use serde_json::{Value, json};
use support::{
    Reply,
    ask::{Heard, listen, question},
    replay::question::PIXEL,
    vendors::{
        ANTHROPIC_HELLO, CAREFUL, CLEAR, COHERE_HELLO, GEMINI_HELLO, GEMINI_KEY, SWIFT, Street,
    },
};

fn gemini_stream(pieces: &[Value]) -> Reply {
    Reply::sse(pieces.iter().map(|piece| format!("data: {piece}\r\n\r\n")).collect::<String>())
}

fn gemini_piece(parts: &Value, finish: Option<&str>) -> Value {
    json!({
        "candidates": [{ "content": { "role": "model", "parts": parts }, "finishReason": finish }],
        "usageMetadata": { "promptTokenCount": 9, "candidatesTokenCount": 2 },
        "modelVersion": "swift-1", "responseId": "answer-7",
    })
}

fn cohere_stream(events: &[Value]) -> Reply {
    let event =
        |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap());
    Reply::sse(events.iter().map(event).collect::<String>() + "data: [DONE]\n\n")
}

fn cohere_delta(kind: &str, index: u32, message: &Value) -> Value {
    json!({ "type": kind, "index": index, "delta": { "message": message } })
}

fn cohere_end(reason: &str) -> Value {
    json!({ "type": "message-end", "delta": { "finish_reason": reason } })
}

fn tool(name: &str) -> v1::Tool {
    v1::Tool {
        tool_name: name.to_owned(),
        description: format!("The {name}"),
        parameters_schema_json: r#"{"type":"object","properties":{"at":{"type":"string"}}}"#
            .to_owned(),
        strict: false,
    }
}

fn result(call_id: &str, parts: Vec<Part>, is_error: bool) -> Part {
    let parts = parts.into_iter().map(|kind| v1::Part { kind: Some(kind) }).collect();
    Part::ToolResult(v1::ToolResult { call_id: call_id.to_owned(), parts, is_error })
}

fn picture() -> Part {
    let content = BASE64.decode(PIXEL).unwrap().into();
    let inline = v1::InlineAsset { media_type: "image/png".to_owned(), content };
    Part::Asset(v1::AssetRef { source: Some(v1::asset_ref::Source::Inline(inline)) })
}

fn results(results: impl IntoIterator<Item = Part>) -> v1::Message {
    message::of(MessageRole::Tool, results)
}

fn to(model: &str, request: &TextRequest) -> TextRequest {
    TextRequest { target: question(model, "").target, ..request.clone() }
}

/// The answer as the next turn of the conversation, as a reader of the stream puts it together.
fn turn(heard: &Heard) -> v1::Message {
    let mut answer = mediary_client::Answer::default();
    heard.events.iter().for_each(|event| answer.add(event));
    assert!(answer.is_complete(), "{:?}", heard.failure);
    answer.message()
}

fn calls(message: &v1::Message) -> Vec<(&str, &str, Value)> {
    let calls = message.parts.iter().filter_map(|part| match &part.kind {
        Some(Part::ToolCall(call)) => Some(call),
        _ => None,
    });
    calls
        .map(|call| {
            let arguments = serde_json::from_str(&call.arguments_json).unwrap();
            (call.call_id.as_str(), call.tool_name.as_str(), arguments)
        })
        .collect()
}

fn warnings(heard: &Heard) -> Vec<&str> {
    heard.started().warnings.iter().map(|one| one.code.as_str()).collect()
}

#[tokio::test]
async fn gemini_gets_its_signatures_back_where_they_stood_and_others_get_none_of_them() {
    let street = Street::new().await;
    let mut talk = question(SWIFT, "Wind and tide?").system("You keep the lighthouse.");
    talk.parameters.tools = vec![tool("wind"), tool("tide")];
    talk.parameters.reasoning =
        Some(v1::ReasoningOptions { effort: "low".into(), include: true, ..Default::default() });

    // A thought, a text that is signed, two calls of which the first is signed, a signed end.
    street.gemini.always(gemini_stream(&[
        gemini_piece(&json!([{ "text": "Two questions.", "thought": true }]), None),
        gemini_piece(&json!([{ "text": "I will " }]), None),
        gemini_piece(&json!([{ "text": "look.", "thoughtSignature": "c2lnLXRleHQ=" }]), None),
        gemini_piece(
            &json!([
                { "functionCall": { "name": "wind", "args": { "at": "sea" } }, "thoughtSignature": "c2lnLWNhbGw=" },
                { "functionCall": { "name": "tide" } },
            ]),
            None,
        ),
        gemini_piece(&json!([{ "text": "", "thoughtSignature": "c2lnLWVuZA==" }]), Some("STOP")),
    ]));
    let first = listen(&street.house, talk.clone()).await;
    let whole = street.house.client().generate(talk.clone()).await.unwrap();

    let asked = street.gemini.last_asked();
    assert_eq!(asked.path, "/models/swift-1:streamGenerateContent?alt=sse");
    assert_eq!(asked.header("x-goog-api-key"), Some(GEMINI_KEY));
    let schema = json!({ "type": "object", "properties": { "at": { "type": "string" } } });
    let declaration = |name: &str| json!({ "name": name, "description": format!("The {name}"), "parametersJsonSchema": schema });
    assert_eq!(
        asked.json(),
        json!({
            "systemInstruction": { "parts": [{ "text": "You keep the lighthouse." }] },
            "contents": [{ "role": "user", "parts": [{ "text": "Wind and tide?" }] }],
            "tools": [{ "functionDeclarations": [declaration("wind"), declaration("tide")] }],
            "generationConfig": {
                "thinkingConfig": { "includeThoughts": true, "thinkingLevel": "low" },
            },
        })
    );
    let said = turn(&first);
    assert_eq!(Some(&said), whole.message.as_ref(), "a stream and its collection are one answer");
    assert_eq!(first.finished().finish_reason(), FinishReason::ToolCalls);
    assert_eq!(
        calls(&said),
        [
            ("call_answer-7_0", "wind", json!({ "at": "sea" })),
            ("call_answer-7_1", "tide", json!({})),
        ]
    );

    // The results come in another order, one with a picture, one a failure.
    street.gemini.always(Reply::sse(GEMINI_HELLO));
    let talk = talk.message(said).message(results([
        result("call_answer-7_1", vec![Part::Text("the gauge is gone".into())], true),
        result("call_answer-7_0", vec![Part::Text(r#"{"knots": 12}"#.into()), picture()], false),
    ]));
    let second = listen(&street.house, talk.clone()).await;
    assert_eq!((second.text().as_str(), warnings(&second)), ("Hello!", vec![]));
    let model_turn = json!({ "role": "model", "parts": [
        { "text": "I will " },
        { "text": "look.", "thoughtSignature": "c2lnLXRleHQ=" },
        { "functionCall": { "id": "call_answer-7_0", "name": "wind", "args": { "at": "sea" } },
          "thoughtSignature": "c2lnLWNhbGw=" },
        { "functionCall": { "id": "call_answer-7_1", "name": "tide", "args": {} } },
        { "text": "", "thoughtSignature": "c2lnLWVuZA==" },
    ]});
    let contents = street.gemini.last_asked().json()["contents"].clone();
    assert_eq!(contents[1], model_turn);
    assert_eq!(
        contents[2],
        json!({ "role": "user", "parts": [
            { "functionResponse": {
                "id": "call_answer-7_0", "name": "wind", "response": { "output": { "knots": 12 } },
                "parts": [{ "inlineData": { "mimeType": "image/png", "data": PIXEL } }],
            }},
            { "functionResponse": {
                "id": "call_answer-7_1", "name": "tide",
                "response": { "error": "the gauge is gone" },
            }},
        ]})
    );

    // Another vendor takes over: it gets the words and the calls, and none of the thoughts.
    street.anthropic.always(Reply::sse(ANTHROPIC_HELLO));
    let talk = talk.message(turn(&second)).user("And now?");
    let third = listen(&street.house, to(CAREFUL, &talk)).await;
    assert_eq!(warnings(&third), ["reasoning-dropped"]);
    let body = String::from_utf8(street.anthropic.last_asked().body).unwrap();
    assert!(!body.contains("c2ln") && !body.contains("Two questions."), "{body}");
    assert!(body.contains("call_answer-7_0") && body.contains("I will "), "{body}");

    // And back, with a call of that vendor's in between: it has no signature, and says so.
    let foreign = message::of(
        MessageRole::Assistant,
        [Part::ToolCall(v1::ToolCall {
            call_id: "toolu_1".into(),
            tool_name: "tide".into(),
            arguments_json: "{}".into(),
        })],
    );
    let talk = talk
        .message(turn(&third))
        .user("Once more.")
        .message(foreign)
        .message(results([result("toolu_1", vec![Part::Text("3 m".into())], false)]));
    let last = listen(&street.house, talk).await;
    assert_eq!(warnings(&last), Vec::<&str>::new());
    let contents = street.gemini.last_asked().json()["contents"].clone();
    assert_eq!(contents[1], model_turn);
    assert_eq!(
        contents[7],
        json!({ "role": "model", "parts": [{
            "functionCall": { "id": "toolu_1", "name": "tide", "args": {} },
            "thoughtSignature": "skip_thought_signature_validator",
        }]})
    );
    assert_eq!(contents[8]["parts"][0]["functionResponse"]["response"], json!({ "output": "3 m" }));
}

#[tokio::test]
async fn signatures_find_their_calls_even_if_a_caller_moves_all_thoughts_to_the_front() {
    let street = Street::new().await;
    street.gemini.always(gemini_stream(&[gemini_piece(
        &json!([
            { "text": "Looking." },
            { "functionCall": { "id": "a", "name": "wind" }, "thoughtSignature": "c2lnLWE=" },
            { "functionCall": { "id": "b", "name": "tide" }, "thoughtSignature": "c2lnLWI=" },
        ]),
        Some("STOP"),
    )]));
    let talk = question(SWIFT, "Wind and tide?");
    let mut said = turn(&listen(&street.house, talk.clone()).await);
    said.parts.sort_by_key(|part| !matches!(part.kind, Some(Part::Reasoning(_))));

    let talk = talk.message(said).message(results([
        result("a", vec![Part::Text("12".into())], false),
        result("b", vec![Part::Text("3".into())], false),
    ]));
    listen(&street.house, talk).await;

    let parts = street.gemini.last_asked().json()["contents"][1]["parts"].clone();
    assert_eq!(parts[1]["thoughtSignature"], "c2lnLWE=");
    assert_eq!(parts[2]["thoughtSignature"], "c2lnLWI=");
}

#[tokio::test]
async fn cohere_gets_its_plan_and_its_thoughts_back_and_takes_over_from_others() {
    let street = Street::new().await;
    let mut talk = question(CLEAR, "Wind and tide?").system("You keep the lighthouse.");
    talk.parameters.tools = vec![tool("wind"), tool("tide")];
    talk.parameters.tool_choice =
        Some(v1::ToolChoice { choice: Some(v1::tool_choice::Choice::ToolName("wind".into())) });
    talk.parameters.top_p = Some(1.0);
    talk.parameters.reasoning = Some(v1::ReasoningOptions {
        budget_tokens: Some(500),
        include: true,
        ..Default::default()
    });

    street.cohere.always(cohere_stream(&[
        cohere_delta("content-delta", 0, &json!({ "content": { "thinking": "A question." } })),
        cohere_delta("tool-plan-delta", 0, &json!({ "tool_plan": "I will ask " })),
        cohere_delta("tool-plan-delta", 0, &json!({ "tool_plan": "for the wind." })),
        cohere_delta(
            "tool-call-start",
            0,
            &json!({ "tool_calls": { "id": "wind_1", "function": { "name": "wind", "arguments": "" } } }),
        ),
        json!({ "type": "tool-call-end", "index": 0 }),
        cohere_end("TOOL_CALL"),
    ]));
    let first = listen(&street.house, talk.clone()).await;
    let whole = street.house.client().generate(talk.clone()).await.unwrap();

    let asked = street.cohere.last_asked();
    let schema = json!({ "type": "object", "properties": { "at": { "type": "string" } } });
    assert_eq!(asked.path, "/v2/chat");
    assert_eq!(asked.header("authorization"), Some("Bearer cohere-key-of-the-test"));
    assert_eq!(
        asked.json(),
        json!({
            "model": "clear-1",
            "messages": [
                { "role": "user", "content": "Wind and tide?" },
                { "role": "system", "content": "You keep the lighthouse." },
            ],
            "stream": true,
            "p": 0.99,
            "thinking": { "type": "enabled", "token_budget": 500 },
            // One tool cannot be named: it is sent alone.
            "tools": [{ "type": "function", "function": {
                "name": "wind", "description": "The wind", "parameters": schema,
            }}],
            "tool_choice": "REQUIRED",
        })
    );
    let said = turn(&first);
    assert_eq!(Some(&said), whole.message.as_ref(), "a stream and its collection are one answer");
    assert_eq!(calls(&said), [("wind_1", "wind", json!({}))]);

    street.cohere.always(Reply::sse(COHERE_HELLO));
    let talk = TextRequest { parameters: v1::TextParameters::default(), ..talk }
        .message(said)
        .message(results([result("wind_1", vec![Part::Text("none".into())], true)]));
    let second = listen(&street.house, talk.clone()).await;
    assert_eq!(
        street.cohere.last_asked().json()["messages"],
        json!([
            { "role": "user", "content": "Wind and tide?" },
            { "role": "system", "content": "You keep the lighthouse." },
            { "role": "assistant",
              "content": [{ "type": "thinking", "thinking": "A question." }],
              "tool_plan": "I will ask for the wind.",
              "tool_calls": [{ "id": "wind_1", "type": "function",
                               "function": { "name": "wind", "arguments": "{}" } }] },
            { "role": "tool", "tool_call_id": "wind_1", "content": "{\"error\":\"none\"}" },
        ])
    );
    // 509 tokens were counted, 9 are paid, at 1 and 2 USD per million.
    let end = second.finished();
    let usage = end.usage.clone().unwrap();
    assert_eq!((usage.input_tokens, usage.output_tokens), (509, 3));
    assert_eq!(end.cost_pico_usd, 9 * 1_000_000 + 2 * 2_000_000);

    street.gemini.always(Reply::sse(GEMINI_HELLO));
    let talk = talk.message(turn(&second)).user("And now?");
    let third = listen(&street.house, to(SWIFT, &talk)).await;
    assert_eq!(warnings(&third), ["reasoning-dropped"]);
    let body = String::from_utf8(street.gemini.last_asked().body).unwrap();
    assert!(!body.contains("A question.") && !body.contains("I will ask"), "{body}");
    assert!(body.contains("skip_thought_signature_validator"), "{body}");

    let last = listen(&street.house, talk.message(turn(&third)).user("Thanks.")).await;
    assert_eq!(warnings(&last), Vec::<&str>::new());
    let messages = street.cohere.last_asked().json()["messages"].clone();
    assert_eq!(messages[2]["tool_plan"], "I will ask for the wind.");
    assert_eq!(messages[6], json!({ "role": "assistant", "content": "Hello!" }));
}

#[tokio::test]
async fn thoughts_that_a_caller_may_not_read_go_back_all_the_same() {
    let street = Street::new().await;
    street.cohere.always(cohere_stream(&[
        cohere_delta("content-delta", 0, &json!({ "content": { "thinking": "Hidden." } })),
        cohere_delta("tool-plan-delta", 0, &json!({ "tool_plan": "A plan." })),
        cohere_delta("content-delta", 1, &json!({ "content": { "text": "Done." } })),
        cohere_end("COMPLETE"),
    ]));
    let talk = question(CLEAR, "Wind?");
    let first = listen(&street.house, talk.clone()).await;
    let texts = first.kinds().filter(|kind| {
        matches!(kind, Kind::ReasoningDelta(delta)
            if matches!(delta.content, Some(v1::reasoning_delta::Content::Text(_))))
    });
    assert_eq!(texts.count(), 0);

    listen(&street.house, talk.message(turn(&first)).user("More.")).await;

    let said = street.cohere.last_asked().json()["messages"][1].clone();
    assert_eq!(said, json!({ "role": "assistant", "content": "Done.", "tool_plan": "A plan." }));
}

fn citations(heard: &Heard) -> Vec<(i32, i64, i64, &str, &str)> {
    let citations = heard.kinds().filter_map(|kind| match kind {
        Kind::Citation(one) => {
            Some((one.part_index, one.start, one.end, one.uri.as_str(), one.title.as_str()))
        }
        _ => None,
    });
    citations.collect()
}

#[tokio::test]
async fn sources_are_told_in_code_points_of_their_part() {
    let street = Street::new().await;
    // Gemini counts bytes over everything that was said: the umlaut and the dash are more than one.
    let mut last = gemini_piece(&json!([{ "text": " – 60 ℓ." }]), Some("STOP"));
    last["candidates"][0]["groundingMetadata"] = json!({
        "groundingChunks": [
            { "web": { "uri": "https://a.example", "title": "a" } },
            { "web": { "uri": "https://b.example", "title": "b" } },
        ],
        "groundingSupports": [
            { "segment": { "endIndex": 7, "text": "Größe" }, "groundingChunkIndices": [0, 1] },
            { "segment": { "startIndex": 13, "endIndex": 19, "text": "60 ℓ" },
              "groundingChunkIndices": [1, 9] },
            { "segment": { "startIndex": 13, "endIndex": 9_000 }, "groundingChunkIndices": [0] },
        ],
    });
    street.gemini.always(gemini_stream(&[
        gemini_piece(&json!([{ "text": "Größe:" }]), None),
        last.clone(),
        last,
    ]));
    let heard = listen(&street.house, question(SWIFT, "How much?")).await;
    let text = "Größe: – 60 ℓ. – 60 ℓ.";
    assert_eq!(heard.text(), text);
    let points: Vec<char> = text.chars().collect();
    let stretch = |from: usize, to: usize| points[from..to].iter().collect::<String>();
    assert_eq!([stretch(0, 5), stretch(9, 13)], ["Größe", "60 ℓ"]);
    assert_eq!(
        citations(&heard),
        [
            (0, 0, 5, "https://a.example", "a"),
            (0, 0, 5, "https://b.example", "b"),
            (0, 9, 13, "https://b.example", "b"),
            (0, 9, 22, "https://a.example", "a"),
        ]
    );

    // Cohere counts characters of a block, thoughts being one as well.
    let citation = |kind: &str, start: u32, end: u32, document: &Value| {
        cohere_delta(
            "citation-start",
            0,
            &json!({ "citations": {
                "start": start, "end": end, "type": kind, "content_index": 1,
                "sources": [{ "type": "document", "id": "doc:0", "document": document }],
            }}),
        )
    };
    street.cohere.always(cohere_stream(&[
        cohere_delta("content-delta", 0, &json!({ "content": { "thinking": "Größe?" } })),
        citation("THINKING_CONTENT", 0, 5, &json!({ "title": "no" })),
        cohere_delta("content-delta", 1, &json!({ "content": { "text": "Größe: 60 ℓ" } })),
        citation("TEXT_CONTENT", 7, 11, &json!({ "title": "facts", "url": "https://a.example" })),
        citation("TEXT_CONTENT", 0, 5, &json!({ "title": 7, "text": ["no text"] })),
        cohere_end("COMPLETE"),
    ]));
    let heard = listen(&street.house, question(CLEAR, "How much?")).await;
    assert_eq!(
        citations(&heard),
        [(1, 7, 11, "https://a.example", "facts"), (1, 0, 5, "", "doc:0")]
    );
}

#[tokio::test]
async fn a_blocked_prompt_and_a_blocked_answer_are_answers_that_say_why() {
    let street = Street::new().await;
    let blocked = json!({ "promptFeedback": {
        "blockReason": "PROHIBITED_CONTENT", "blockReasonMessage": "The prompt was blocked.",
    }});
    street.gemini.always(gemini_stream(&[blocked]));
    let heard = listen(&street.house, question(SWIFT, "Say it.")).await;
    let end = heard.finished();
    assert_eq!(end.finish_reason(), FinishReason::ContentFilter);
    assert_eq!(end.provider_finish_reason, "PROHIBITED_CONTENT");
    assert_eq!(end.refusal, "The prompt was blocked.");
    assert_eq!(end.usage.as_ref().unwrap().source(), v1::UsageSource::Estimated);

    let native = [
        ("MAX_TOKENS", FinishReason::Length),
        ("SAFETY", FinishReason::ContentFilter),
        ("RECITATION", FinishReason::ContentFilter),
        ("BLOCKLIST", FinishReason::ContentFilter),
        ("PROHIBITED_CONTENT", FinishReason::ContentFilter),
        ("SPII", FinishReason::ContentFilter),
        ("LANGUAGE", FinishReason::Other),
        ("OTHER", FinishReason::Other),
        ("MALFORMED_FUNCTION_CALL", FinishReason::Other),
        ("UNEXPECTED_TOOL_CALL", FinishReason::Other),
        ("TOO_MANY_TOOL_CALLS", FinishReason::Other),
        ("A_WORD_OF_TOMORROW", FinishReason::Other),
    ];
    for (word, reason) in native {
        street
            .gemini
            .always(gemini_stream(&[gemini_piece(&json!([{ "text": "So " }]), Some(word))]));
        let heard = listen(&street.house, question(SWIFT, "Say it.")).await;
        assert_eq!(heard.text(), "So ");
        assert_eq!(heard.finished().finish_reason(), reason, "{word}");
        assert_eq!(heard.finished().provider_finish_reason, word);
    }
}

#[tokio::test]
async fn every_parameter_has_its_place_in_both_wires() {
    let street = Street::new().await;
    street.gemini.always(Reply::sse(GEMINI_HELLO));
    street.cohere.always(Reply::sse(COHERE_HELLO));
    let schema = r#"{"type":"object","properties":{"b":{"const":"x"},"a":{"type":"integer"}}}"#;
    let format = v1::response_format::Format::JsonSchema(v1::JsonSchemaFormat {
        name: "answer".into(),
        schema_json: schema.into(),
        strict: true,
    });
    let mut ask = question(SWIFT, "How much?");
    ask.parameters = v1::TextParameters {
        max_output_tokens: Some(50),
        temperature: Some(0.5),
        top_p: Some(0.9),
        top_k: Some(40),
        seed: Some(7),
        frequency_penalty: Some(0.25),
        presence_penalty: Some(0.75),
        stop: vec!["END".into()],
        response_format: Some(v1::ResponseFormat { format: Some(format) }),
        reasoning: Some(v1::ReasoningOptions { effort: "none".into(), ..Default::default() }),
        provider_options_json: BTreeMap::from([
            (
                "gemini".into(),
                r#"{"generationConfig":{"mediaResolution":"LOW"},"tools":[{"googleSearch":{}}]}"#
                    .into(),
            ),
            ("cohere".into(), r#"{"safety_mode":"OFF"}"#.into()),
        ]),
        ..Default::default()
    };
    listen(&street.house, ask.clone()).await.finished();
    listen(&street.house, to(CLEAR, &ask)).await.finished();

    let body = street.gemini.last_asked().json();
    assert_eq!(
        body["generationConfig"],
        json!({
            "maxOutputTokens": 50, "temperature": 0.5, "topP": 0.9, "topK": 40, "seed": 7,
            "frequencyPenalty": 0.25, "presencePenalty": 0.75, "stopSequences": ["END"],
            "responseMimeType": "application/json",
            "responseJsonSchema": { "type": "object", "properties": {
                "b": { "enum": ["x"] }, "a": { "type": "integer" },
            }},
            "thinkingConfig": { "thinkingLevel": "minimal" },
            "mediaResolution": "LOW",
        })
    );
    assert_eq!(body["tools"], json!([{ "googleSearch": {} }]));
    let mut body = street.cohere.last_asked().json();
    body.as_object_mut().unwrap().remove("messages");
    assert_eq!(
        body,
        json!({
            "model": "clear-1", "stream": true, "max_tokens": 50, "temperature": 0.5, "p": 0.9,
            "k": 40, "seed": 7, "frequency_penalty": 0.25, "presence_penalty": 0.75,
            "stop_sequences": ["END"], "thinking": { "type": "disabled" },
            "response_format": {
                "type": "json_object", "json_schema": serde_json::from_str::<Value>(schema).unwrap(),
            },
            "safety_mode": "OFF",
        })
    );
}

#[tokio::test]
async fn a_tool_can_be_forbidden_left_open_or_demanded_in_both_wires() {
    use v1::tool_choice::Choice;
    let street = Street::new().await;
    street.gemini.always(Reply::sse(GEMINI_HELLO));
    street.cohere.always(Reply::sse(COHERE_HELLO));
    let calling = |mode: &str| json!({ "functionCallingConfig": { "mode": mode } });
    let named =
        json!({ "functionCallingConfig": { "mode": "ANY", "allowedFunctionNames": ["tide"] } });
    for (choice, strict, gemini, cohere) in [
        (None, false, Value::Null, Value::Null),
        (Some(Choice::Auto(v1::AutoChoice {})), true, calling("VALIDATED"), Value::Null),
        (Some(Choice::None(v1::NoneChoice {})), false, calling("NONE"), json!("NONE")),
        (Some(Choice::Required(v1::RequiredChoice {})), false, calling("ANY"), json!("REQUIRED")),
        (Some(Choice::ToolName("tide".into())), false, named, json!("REQUIRED")),
    ] {
        let mut ask = question(SWIFT, "Wind and tide?");
        ask.parameters.tools = vec![tool("wind"), v1::Tool { strict, ..tool("tide") }];
        ask.parameters.tool_choice = choice.map(|choice| v1::ToolChoice { choice: Some(choice) });
        listen(&street.house, ask.clone()).await.finished();
        listen(&street.house, to(CLEAR, &ask)).await.finished();
        assert_eq!(street.gemini.last_asked().json()["toolConfig"], gemini);
        let body = street.cohere.last_asked().json();
        assert_eq!(body["tool_choice"], cohere);
        assert_eq!(body["strict_tools"], if strict { json!(true) } else { Value::Null });
    }
}

async fn refused(street: &Street, ask: TextRequest) -> Error {
    let error = street.house.client().generate(ask).await.unwrap_err();
    assert_eq!(error.reason(), "UNSUPPORTED_PARAMETER");
    error
}

#[tokio::test]
async fn what_a_wire_does_not_have_is_refused_before_it_is_asked() {
    let street = Street::new().await;
    for model in [SWIFT, CLEAR] {
        let mut ask = question(model, "Wind?");
        ask.parameters.tools = vec![tool("wind")];
        ask.parameters.parallel_tool_calls = Some(false);
        let error = refused(&street, ask).await;
        assert_eq!(error.metadata()["field"], "parameters.parallel_tool_calls");
    }
    // Gemini ignores a pattern; who demands the schema is told.
    let mut ask = question(SWIFT, "Which?");
    ask.parameters.response_format = Some(v1::ResponseFormat {
        format: Some(v1::response_format::Format::JsonSchema(v1::JsonSchemaFormat {
            name: String::new(),
            schema_json: r#"{"type":"string","pattern":"^a"}"#.into(),
            strict: true,
        })),
    });
    let error = refused(&street, ask).await;
    assert!(error.message().contains("#/pattern is not enforced"), "{}", error.message());
    // Cohere looks at no picture in a result.
    let ask = question(CLEAR, "Wind?")
        .message(message::of(
            MessageRole::Assistant,
            [Part::ToolCall(v1::ToolCall {
                call_id: "a".into(),
                tool_name: "wind".into(),
                arguments_json: "{}".into(),
            })],
        ))
        .message(results([result("a", vec![picture()], false)]));
    let error = refused(&street, ask).await;
    assert_eq!(error.metadata()["field"], "messages[2].parts[0].tool_result.parts");
    assert!(street.gemini.asked().is_empty() && street.cohere.asked().is_empty());
}
