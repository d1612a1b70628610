//! `content` as compatible servers send it: text, nothing, or a list of parts.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, SeqAccess},
};

use super::super::text::Text;

#[derive(Debug, Default)]
pub enum Content<'a> {
    #[default]
    Nothing,
    Text(Text<'a>),
    Parts(Vec<ContentPart<'a>>),
}

impl Content<'_> {
    /// Whether it says something that is not thinking.
    pub fn is_text(&self) -> bool {
        match self {
            Self::Nothing => false,
            Self::Text(text) => !text.is_empty(),
            Self::Parts(parts) => parts.iter().any(|part| part.thinking.is_none()),
        }
    }
}

/// One part of a list: `text`, or Mistral's `thinking` with text parts of its own.
#[derive(Debug, Deserialize)]
pub struct ContentPart<'a> {
    #[serde(borrow, default)]
    pub text: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub thinking: Option<Thinking<'a>>,
}

#[derive(Debug)]
pub enum Thinking<'a> {
    Text(Text<'a>),
    Parts(Vec<ContentPart<'a>>),
}

impl Thinking<'_> {
    pub fn into_string(self) -> String {
        match self {
            Self::Text(text) => text.into_string(),
            Self::Parts(parts) => {
                parts.into_iter().filter_map(|part| part.text).map(Text::into_string).collect()
            }
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Thinking<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Content::deserialize(deserializer)? {
            Content::Nothing => Self::Parts(Vec::new()),
            Content::Text(text) => Self::Text(text),
            Content::Parts(parts) => Self::Parts(parts),
        })
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Content<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Content<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a list of parts or null")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Content::Text(Text(text.into())))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Content::Text(Text(text.to_owned().into())))
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Content::Nothing)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(Content::Nothing)
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Content::Nothing)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut parts = Vec::new();
                while let Some(part) = seq.next_element()? {
                    parts.push(part);
                }
                Ok(Content::Parts(parts))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
