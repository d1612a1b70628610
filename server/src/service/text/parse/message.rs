//! The conversation.

use mediary_domain::{Error, Image, Kind, Message, Part, Reasoning, Role, ToolCall, ToolResult};
use mediary_proto::v1::{self, MessageRole, asset_ref::Source, part};

use super::{super::limits, Problems};

pub fn parse_all(wire: Vec<v1::Message>, problems: &mut Problems) -> Vec<Message> {
    if wire.is_empty() {
        problems.field("messages", "must hold at least one message");
    }
    if wire.len() > limits::MESSAGES {
        problems.field("messages", format!("holds at most {} messages", limits::MESSAGES));
        return Vec::new();
    }
    // Before any of them is looked at: a message has room for a million that are all wrong.
    let parts: usize = wire.iter().flat_map(|message| &message.parts).map(count).sum();
    if parts > limits::PARTS {
        problems.field("messages", format!("hold at most {} parts in all", limits::PARTS));
        return Vec::new();
    }
    let mut size = Size::default();
    let messages: Vec<Message> = wire
        .into_iter()
        .enumerate()
        .map(|(index, message)| parse(index, message, &mut size, problems))
        .collect();
    if size.text > limits::TEXT_BYTES {
        let most = limits::TEXT_BYTES;
        problems.field("messages", format!("hold at most {most} bytes of text in all"));
    }
    if !messages.is_empty() && messages.iter().all(|message| message.role == Role::System) {
        problems.field("messages", "must hold more than system messages: ask something");
    }
    messages
}

/// With those within the answer of a tool.
fn count(part: &v1::Part) -> usize {
    1 + match &part.kind {
        Some(part::Kind::ToolResult(result)) => result.parts.iter().map(count).sum(),
        _ => 0,
    }
}

#[derive(Default)]
struct Size {
    text: usize,
}

fn parse(index: usize, wire: v1::Message, size: &mut Size, problems: &mut Problems) -> Message {
    let field = format!("messages[{index}]");
    let role = match wire.role() {
        MessageRole::System => Role::System,
        MessageRole::User => Role::User,
        MessageRole::Assistant => Role::Assistant,
        MessageRole::Tool => Role::Tool,
        MessageRole::Unspecified => {
            problems
                .field(format!("{field}.role"), "must be one of SYSTEM, USER, ASSISTANT and TOOL");
            Role::User
        }
    };
    if wire.parts.is_empty() {
        problems.field(format!("{field}.parts"), "must hold at least one part");
    }
    let parts = wire.parts.into_iter().enumerate().filter_map(|(at, part)| {
        let field = format!("{field}.parts[{at}]");
        let part = parse_part(&field, part, size, problems)?;
        check_place(&field, role, &part, problems);
        Some(part)
    });
    Message { role, parts: parts.collect() }
}

fn check_place(field: &str, role: Role, part: &Part, problems: &mut Problems) {
    let (fits, who) = match part {
        Part::Text(_) => (true, ""),
        Part::Image(_) => (role == Role::User, "a user"),
        Part::ToolCall(_) | Part::Reasoning(_) => (role == Role::Assistant, "the assistant"),
        Part::ToolResult(_) => (role == Role::Tool, "role TOOL"),
    };
    if !fits {
        problems.field(field, format!("stands only in messages of {who}"));
    }
}

fn parse_part(
    field: &str,
    wire: v1::Part,
    size: &mut Size,
    problems: &mut Problems,
) -> Option<Part> {
    match wire.kind {
        None => {
            problems.field(field, "must be one of text, asset, tool_call, tool_result, reasoning");
            None
        }
        Some(part::Kind::Text(text)) => {
            size.text += text.len();
            if text.is_empty() {
                problems.field(format!("{field}.text"), "must not be empty");
            }
            Some(Part::Text(text))
        }
        Some(part::Kind::Asset(asset)) => image(field, asset, problems).map(Part::Image),
        Some(part::Kind::ToolCall(call)) => {
            let v1::ToolCall { call_id, tool_name, arguments_json } = call;
            size.text += arguments_json.len();
            let field = format!("{field}.tool_call");
            require(&field, "call_id", &call_id, problems);
            require(&field, "tool_name", &tool_name, problems);
            let is_object = arguments_json.is_empty()
                || serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(
                    &arguments_json,
                )
                .is_ok();
            if !is_object {
                problems.field(format!("{field}.arguments_json"), "must be a JSON object");
            }
            let arguments_json =
                if arguments_json.is_empty() { "{}".to_owned() } else { arguments_json };
            Some(Part::ToolCall(ToolCall { call_id, tool_name, arguments_json }))
        }
        Some(part::Kind::ToolResult(result)) => {
            let field = format!("{field}.tool_result");
            require(&field, "call_id", &result.call_id, problems);
            let parts = result.parts.into_iter().enumerate().filter_map(|(at, part)| {
                let field = format!("{field}.parts[{at}]");
                let part = parse_part(&field, part, size, problems)?;
                if !matches!(part, Part::Text(_) | Part::Image(_)) {
                    problems.field(field, "a tool's result holds text and assets only");
                }
                Some(part)
            });
            let parts = parts.collect();
            Some(Part::ToolResult(ToolResult {
                call_id: result.call_id,
                parts,
                is_error: result.is_error,
            }))
        }
        Some(part::Kind::Reasoning(reasoning)) => {
            size.text += reasoning.text.len();
            if reasoning.opaque_state.len() > limits::OPAQUE_STATE_BYTES {
                problems.field(
                    format!("{field}.reasoning.opaque_state"),
                    format!("holds at most {} bytes", limits::OPAQUE_STATE_BYTES),
                );
            }
            Some(Part::Reasoning(Reasoning {
                text: reasoning.text,
                opaque_state: reasoning.opaque_state,
                provider: reasoning.provider,
            }))
        }
    }
}

fn require(field: &str, name: &str, value: &str, problems: &mut Problems) {
    if value.is_empty() {
        problems.field(format!("{field}.{name}"), "is required");
    }
}

fn image(field: &str, asset: v1::AssetRef, problems: &mut Problems) -> Option<Image> {
    let inline = match asset.source {
        Some(Source::Inline(inline)) => inline,
        Some(Source::Asset(_)) => {
            problems.add(
                Error::new(Kind::FeatureDisabled, "this server stores no assets")
                    .violation(format!("{field}.asset.asset"), "send the bytes inline instead"),
            );
            return None;
        }
        Some(Source::SourceUri(_)) => {
            problems.add(
                Error::new(Kind::SourceUriForbidden, "this server imports nothing from addresses")
                    .violation(
                        format!("{field}.asset.source_uri"),
                        "send the bytes inline instead",
                    ),
            );
            return None;
        }
        None => {
            problems.field(format!("{field}.asset"), "must name an asset or hold inline bytes");
            return None;
        }
    };
    let field = format!("{field}.asset.inline");
    if inline.content.len() > limits::INLINE_ASSET_BYTES {
        let most = limits::INLINE_ASSET_BYTES;
        problems.field(format!("{field}.content"), format!("holds at most {most} bytes"));
        return None;
    }
    if inline.content.is_empty() {
        problems.field(format!("{field}.content"), "must not be empty");
        return None;
    }
    let unsupported = |what: String| {
        Error::new(Kind::UnsupportedMediaType, "a text model looks at PNG, JPEG, WebP and GIF only")
            .violation(format!("{field}.content"), what)
    };
    // What the bytes are counts, not what they are called.
    let found = infer::get(&inline.content).map(|kind| kind.mime_type());
    match found {
        Some(found @ ("image/png" | "image/jpeg" | "image/webp" | "image/gif")) => {
            if !inline.media_type.is_empty() && inline.media_type != found {
                let what = format!("is {found}, not {} as it says", inline.media_type);
                problems.add(unsupported(what));
                return None;
            }
            Some(Image { media_type: found.to_owned(), content: inline.content })
        }
        Some(other) => {
            problems.add(unsupported(format!("is {other}")));
            None
        }
        None => {
            problems.add(unsupported("is of no known format".to_owned()));
            None
        }
    }
}
