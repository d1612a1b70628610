//! What a chat is fed with: arguments, standard input, pictures, a schema.

use std::{
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
};

use mediary_proto::v1::{self, AssetRef, InlineAsset, MessageRole, asset_ref::Source, part::Kind};

use crate::{
    cli::{
        feed::{bytes, named, open, text},
        problem::Problem,
    },
    message,
};

/// Most text of a request.
const TEXT_LIMIT: u64 = 2 << 20;
/// Largest picture that can travel inside a request.
const IMAGE_LIMIT: u64 = 1 << 20;
/// Largest schema.
const SCHEMA_LIMIT: u64 = 64 << 10;

/// How to chat.
#[derive(Debug, PartialEq)]
pub(in crate::cli) enum Prompt {
    Once(String),
    Talk,
}

/// The arguments, with what is piped in after them.
pub(in crate::cli) fn read(arguments: &[String]) -> Result<Prompt, Problem> {
    let stdin = io::stdin();
    let piped = match stdin.is_terminal() {
        true => None,
        false => Some(text("standard input", stdin.lock(), TEXT_LIMIT)?),
    };
    choose(&arguments.join(" "), piped.as_deref())
}

/// A turn of the user: pictures first, then the text.
pub(super) fn user(images: Vec<Kind>, text: String) -> v1::Message {
    message::of(MessageRole::User, images.into_iter().chain([Kind::Text(text)]))
}

/// The pictures as parts of a message.
pub(super) fn images(files: &[PathBuf]) -> Result<Vec<Kind>, Problem> {
    files.iter().map(|file| image(file)).collect()
}

/// The text of a JSON Schema, checked to be JSON.
pub(super) fn schema(file: &Path) -> Result<String, Problem> {
    let name = named(file);
    let schema = text(&name, open(file)?, SCHEMA_LIMIT)?;
    match serde_json::from_str::<serde_json::Value>(&schema) {
        Ok(_) => Ok(schema),
        Err(error) => Err(Problem::Usage(format!("{name} is not JSON: {error}"))),
    }
}

fn choose(arguments: &str, piped: Option<&str>) -> Result<Prompt, Problem> {
    let arguments = arguments.trim();
    match piped.map(|text| text.trim_end_matches(['\r', '\n'])) {
        None if arguments.is_empty() => Ok(Prompt::Talk),
        Some(piped) if arguments.is_empty() && piped.trim().is_empty() => {
            let message = "there is nothing to ask: name a prompt, or pipe one in".to_owned();
            Err(Problem::Usage(message))
        }
        Some(piped) if arguments.is_empty() => Ok(Prompt::Once(piped.to_owned())),
        Some(piped) if !piped.trim().is_empty() => {
            Ok(Prompt::Once(format!("{arguments}\n\n{piped}")))
        }
        _ => Ok(Prompt::Once(arguments.to_owned())),
    }
}

fn image(file: &Path) -> Result<Kind, Problem> {
    let name = named(file);
    let content = bytes(&name, open(file)?, IMAGE_LIMIT)?;
    if content.is_empty() {
        return Err(Problem::Usage(format!("{name} is empty")));
    }
    // The server tells the media type from the bytes.
    let inline = InlineAsset { content: content.into(), ..Default::default() };
    Ok(Kind::Asset(AssetRef { source: Some(Source::Inline(inline)) }))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn once(text: &str) -> Prompt {
        Prompt::Once(text.to_owned())
    }

    #[test]
    fn what_is_piped_in_follows_the_arguments() {
        assert_eq!(choose("", Some("hi\n")).expect("a prompt"), once("hi"));
        assert_eq!(choose("sum up", Some("text\n")).expect("a prompt"), once("sum up\n\ntext"));
        assert_eq!(choose("hi", Some("")).expect("a prompt"), once("hi"));
        assert_eq!(choose("hi", None).expect("a prompt"), once("hi"));
        assert_eq!(choose("", None).expect("a terminal"), Prompt::Talk);
        assert!(choose("", Some("\n")).is_err());
    }

    #[test]
    fn a_picture_that_is_too_large_is_refused_here() {
        let exact = bytes("`a.png`", io::repeat(7).take(IMAGE_LIMIT), IMAGE_LIMIT);
        assert_eq!(exact.expect("it fits").len() as u64, IMAGE_LIMIT);
        let Err(Problem::Usage(message)) = bytes("`a.png`", io::repeat(7), IMAGE_LIMIT) else {
            panic!("it does not fit")
        };
        assert!(message.contains("`a.png`") && message.contains("1 MiB"), "{message}");
    }
}
