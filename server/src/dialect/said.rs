//! What messages hold, in the forms that wires ask for.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use mediary_domain::{Error, Image, Message, Part, Result, Role};
use serde::Serialize;
use serde_json::value::RawValue;

/// The texts among parts, as one.
pub fn joined_text(parts: &[Part]) -> Cow<'_, str> {
    let mut texts = parts.iter().filter_map(|part| match part {
        Part::Text(text) => Some(text.as_str()),
        _ => None,
    });
    match (texts.next(), texts.next()) {
        (None, _) => Cow::Borrowed(""),
        (Some(only), None) => Cow::Borrowed(only),
        (Some(first), Some(second)) => {
            let mut all = format!("{first}{second}");
            all.extend(texts);
            Cow::Owned(all)
        }
    }
}

/// Every system message as one text, for wires that take it apart from the conversation.
pub fn system(messages: &[Message]) -> Option<String> {
    let texts: Vec<&str> = messages
        .iter()
        .filter(|message| message.role == Role::System)
        .flat_map(|message| &message.parts)
        .filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    (!texts.is_empty()).then(|| texts.join("\n\n"))
}

/// `{"url": "data:image/png;base64,..."}`.
#[derive(Serialize)]
pub struct ImageUrl {
    url: String,
}

impl From<&Image> for ImageUrl {
    fn from(image: &Image) -> Self {
        Self { url: data_uri(image) }
    }
}

/// An image as the address that holds it.
pub fn data_uri(image: &Image) -> String {
    format!("data:{};base64,{}", image.media_type, BASE64.encode(&image.content))
}

/// JSON that was checked at the door, passed on as it was written; `None` where there is none.
pub fn raw(json: &str) -> Result<Option<&RawValue>> {
    if json.is_empty() {
        return Ok(None);
    }
    serde_json::from_str(json).map(Some).map_err(|_| Error::bug("unchecked JSON reached a wire"))
}
