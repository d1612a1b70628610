//! JSON lines (NDJSON), cut into lines whatever the network made of them.

use bytes::{Bytes, BytesMut};
use mediary_domain::{Error, Kind, Result};
use tokio_util::codec::{AnyDelimiterCodec, Decoder as _};

/// Longest line that is kept. A token is a few hundred bytes; old servers end with the context.
const LIMIT: usize = 4 << 20;

pub struct Parser {
    buffer: BytesMut,
    codec: AnyDelimiterCodec,
}

impl Default for Parser {
    fn default() -> Self {
        let codec = AnyDelimiterCodec::new_with_max_length(b"\n".to_vec(), b"\n".to_vec(), LIMIT);
        Self { buffer: BytesMut::new(), codec }
    }
}

impl Parser {
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole line, or `None` until more bytes come.
    pub fn next_line(&mut self) -> Result<Option<Bytes>> {
        self.codec.decode(&mut self.buffer).map_err(|_| too_long())
    }

    /// What is left when the body ends: a line without its end.
    pub fn last_line(&mut self) -> Result<Option<Bytes>> {
        self.codec.decode_eof(&mut self.buffer).map_err(|_| too_long())
    }
}

fn too_long() -> Error {
    let message = format!("a line of the provider is longer than {LIMIT} bytes");
    Error::new(Kind::UpstreamProtocol, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_chunking_gives_the_same_lines() {
        let body = "{\"a\":\"é🌍\"}\r\n\n{\"b\":2}\n{\"c\":3}".as_bytes();
        for size in [1, 2, 3, 7, 64] {
            let mut parser = Parser::default();
            let mut lines = Vec::new();
            for piece in body.chunks(size) {
                parser.feed(piece);
                while let Some(line) = parser.next_line().unwrap() {
                    lines.push(line);
                }
            }
            lines.extend(parser.last_line().unwrap());
            let texts: Vec<_> = lines.iter().map(|line| line.trim_ascii()).collect();
            let told: [&[u8]; 4] = ["{\"a\":\"é🌍\"}".as_bytes(), b"", b"{\"b\":2}", b"{\"c\":3}"];
            assert_eq!(texts, told, "in pieces of {size}");
        }
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut parser = Parser::default();
        let outcome = (0..5_000).try_for_each(|_| {
            parser.feed(&[b'a'; 1_024]);
            parser.next_line().map(|_| ())
        });
        assert_eq!(outcome.unwrap_err().kind(), Kind::UpstreamProtocol);
    }
}
