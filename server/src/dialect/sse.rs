//! Server-sent events, cut into events whatever the network made of them.
//!
//! Lines come from `sseer`'s parser; this adds what providers need beyond the standard: a size
//! limit, an end without a blank line, a byte order mark, fields of a name of their own
//! (llama.cpp's `error:`), and a JSON object that follows the events without `data:`, as Google's
//! failures do. Source: WHATWG HTML, 9.2.6.

use bytes::{Bytes, BytesMut};
use mediary_domain::{Error, Kind, Result};
use sseer::parser::{RawEventLineOwned, parse_line_from_buffer};

/// Longest event that is kept. A token is a few hundred bytes.
const LIMIT: usize = 1 << 20;
const BOM: &[u8] = b"\xef\xbb\xbf";

/// One event. `name` is empty where the server gave none.
#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    pub name: Bytes,
    pub data: Bytes,
}

impl From<Bytes> for Event {
    fn from(data: Bytes) -> Self {
        Self { name: Bytes::new(), data }
    }
}

#[derive(Default)]
pub struct Parser {
    buffer: BytesMut,
    scanned: usize,
    name: Bytes,
    data: Option<Bytes>,
    started: bool,
    /// What is in the buffer is one JSON object that no event frames, up to the end of the body.
    bare: bool,
}

impl Parser {
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole event, or `None` until more bytes come.
    pub fn next_event(&mut self) -> Result<Option<Event>> {
        if !self.started {
            if self.buffer.len() < BOM.len() && BOM.starts_with(&self.buffer) {
                return Ok(None);
            }
            if self.buffer.starts_with(BOM) {
                let _ = self.buffer.split_to(BOM.len());
            }
            self.started = true;
        }
        while !self.meets_bare_json()
            && let Some(line) = parse_line_from_buffer(&mut self.buffer, &mut self.scanned)
        {
            match line {
                RawEventLineOwned::Comment => {}
                RawEventLineOwned::Empty => {
                    let name = std::mem::take(&mut self.name);
                    if let Some(data) = self.data.take() {
                        return Ok(Some(Event { name, data }));
                    }
                }
                RawEventLineOwned::Field { field_name, field_value } => {
                    let value = field_value.unwrap_or_default();
                    match field_name.as_ref() {
                        b"data" => self.append(value)?,
                        b"event" => self.name = value,
                        b"error" => {
                            self.name = field_name;
                            self.append(value)?;
                        }
                        _ => {}
                    }
                }
            }
        }
        if self.buffer.len() > LIMIT {
            return Err(too_long());
        }
        Ok(None)
    }

    /// What is left when the body ends: an event whose blank line never came.
    pub fn last_event(&mut self) -> Result<Option<Event>> {
        if self.meets_bare_json() {
            self.bare = false;
            let data = std::mem::take(&mut self.buffer).freeze();
            return Ok(Some(Event { name: Bytes::from_static(b"error"), data }));
        }
        self.buffer.extend_from_slice(b"\n\n");
        self.next_event()
    }

    /// Between two events, a line that begins with a brace is no field of the standard.
    fn meets_bare_json(&mut self) -> bool {
        self.bare = self.bare || (self.data.is_none() && self.buffer.first() == Some(&b'{'));
        self.bare
    }

    fn append(&mut self, line: Bytes) -> Result<()> {
        let data = match self.data.take() {
            None => line,
            Some(before) => {
                let mut joined = BytesMut::with_capacity(before.len() + 1 + line.len());
                joined.extend_from_slice(&before);
                joined.extend_from_slice(b"\n");
                joined.extend_from_slice(&line);
                joined.freeze()
            }
        };
        if data.len() > LIMIT {
            return Err(too_long());
        }
        self.data = Some(data);
        Ok(())
    }
}

fn too_long() -> Error {
    Error::new(
        Kind::UpstreamProtocol,
        format!("an event of the provider is longer than {LIMIT} bytes"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(bytes: &[u8], size: usize) -> Vec<(String, String)> {
        let mut parser = Parser::default();
        let mut found = Vec::new();
        let text = |b: &Bytes| String::from_utf8_lossy(b).into_owned();
        for piece in bytes.chunks(size) {
            parser.feed(piece);
            while let Some(event) = parser.next_event().unwrap() {
                found.push((text(&event.name), text(&event.data)));
            }
        }
        while let Some(event) = parser.last_event().unwrap() {
            found.push((text(&event.name), text(&event.data)));
        }
        found
    }

    #[test]
    fn any_chunking_gives_the_same_events() {
        let body =
            "\u{feff}: hello\r\nevent: a\r\ndata: {\"x\":\"é🌍\"}\r\n\r\ndata:two\ndata: lines\n\n\
                    id: 7\nretry: 5\nerror: {\"e\":1}\n\ndata: last without an end"
                .as_bytes();
        let whole = events(body, body.len());
        assert_eq!(
            whole,
            [
                ("a", "{\"x\":\"é🌍\"}"),
                ("", "two\nlines"),
                ("error", "{\"e\":1}"),
                ("", "last without an end")
            ]
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
        );
        for size in [1, 2, 3, 7, 64] {
            assert_eq!(events(body, size), whole, "in pieces of {size}");
        }
    }

    #[test]
    fn an_object_that_no_event_frames_is_an_error_of_its_own() {
        let body = b"data: {\"a\":1}\r\n\r\n{\r\n  \"error\": {\"message\": \"x: y\"}\r\n}\r\n";
        let whole =
            [("", "{\"a\":1}"), ("error", "{\r\n  \"error\": {\"message\": \"x: y\"}\r\n}\r\n")]
                .map(|(a, b)| (a.to_owned(), b.to_owned()));
        for size in [1, 2, 3, 7, 64, body.len()] {
            assert_eq!(events(body, size), whole, "in pieces of {size}");
        }
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut parser = Parser::default();
        parser.feed(b"data: ");
        let outcome = (0..2_000).try_for_each(|_| {
            parser.feed(&[b'a'; 1_024]);
            parser.next_event().map(|_| ())
        });
        assert_eq!(outcome.unwrap_err().kind(), Kind::UpstreamProtocol);
    }
}
