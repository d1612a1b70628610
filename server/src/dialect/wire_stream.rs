//! From a provider's bytes to the events of an answer, for every wire that streams events or lines.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use futures::Stream;
use mediary_domain::{ChatEvent, Error, Kind, Result};

use super::{lines, parts::Queue, sse};
use crate::transport::{Body, Reply};

/// Longest answer that is read whole, where a provider answers a streaming request with plain
/// JSON.
const WHOLE_LIMIT: usize = 32 << 20;

/// Knows what the events of one wire mean. Holds the state of one answer.
pub trait Decode: Send + Unpin {
    /// Takes one event of the stream; a line is an event without a name.
    fn event(&mut self, event: &sse::Event, out: &mut Queue) -> Result<()>;

    /// Takes a whole answer in one JSON body.
    fn whole(&mut self, body: &[u8], out: &mut Queue) -> Result<()>;

    /// The body has ended: finish, or say that it was cut.
    fn end(&mut self, out: &mut Queue) -> Result<()>;
}

/// Reads a body through a decoder. Ends after `Finished` or a failure, whichever comes first.
pub struct WireStream<D> {
    body: Body,
    framing: Framing,
    reading: Reading,
    decoder: D,
    queue: Queue,
    failure: Option<Error>,
    over: bool,
}

/// What a streamed answer is cut into.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    Events,
    /// One JSON value a line. No first byte tells it from a whole answer.
    Lines,
}

enum Reading {
    /// Nothing but white space so far: is it a stream or one JSON value?
    Unknown(BytesMut),
    Events(sse::Parser),
    Lines(lines::Parser),
    Whole(BytesMut),
}

impl<D: Decode> WireStream<D> {
    /// An answer in server-sent events, or in one JSON value.
    pub fn new(reply: Reply, decoder: D) -> Self {
        Self::framed(reply, Framing::Events, decoder)
    }

    /// An answer in JSON lines.
    pub fn of_lines(reply: Reply, decoder: D) -> Self {
        Self::framed(reply, Framing::Lines, decoder)
    }

    fn framed(reply: Reply, framing: Framing, decoder: D) -> Self {
        Self {
            body: reply.body,
            framing,
            reading: Reading::Unknown(BytesMut::new()),
            decoder,
            queue: reply.limits.map(ChatEvent::Limits).into_iter().collect(),
            failure: None,
            over: false,
        }
    }

    fn take_chunk(&mut self, chunk: &Bytes) -> Result<()> {
        match &mut self.reading {
            Reading::Events(parser) => parser.feed(chunk),
            Reading::Lines(parser) => parser.feed(chunk),
            Reading::Whole(all) => {
                all.extend_from_slice(chunk);
                if all.len() > WHOLE_LIMIT {
                    return Err(Error::new(
                        Kind::UpstreamProtocol,
                        format!("the provider's answer is longer than {WHOLE_LIMIT} bytes"),
                    ));
                }
            }
            Reading::Unknown(start) => {
                start.extend_from_slice(chunk);
                let Some(first) = start.iter().position(|byte| !byte.is_ascii_whitespace()) else {
                    start.clear();
                    return Ok(());
                };
                let start = start.split_off(first);
                self.reading = match start[0] {
                    b'{' if self.framing == Framing::Lines => {
                        let mut parser = lines::Parser::default();
                        parser.feed(&start);
                        Reading::Lines(parser)
                    }
                    b'{' | b'[' => Reading::Whole(start),
                    b'<' => {
                        return Err(Error::new(
                            Kind::UpstreamProtocol,
                            "the provider answered with a web page instead of its API",
                        ));
                    }
                    _ => {
                        let mut parser = sse::Parser::default();
                        parser.feed(&start);
                        Reading::Events(parser)
                    }
                };
            }
        }
        self.decode_events()
    }

    fn decode_events(&mut self) -> Result<()> {
        match &mut self.reading {
            Reading::Events(parser) => {
                while let Some(event) = parser.next_event()? {
                    self.decoder.event(&event, &mut self.queue)?;
                }
            }
            Reading::Lines(parser) => {
                while let Some(line) = parser.next_line()? {
                    self.decoder.event(&line.into(), &mut self.queue)?;
                }
            }
            Reading::Unknown(_) | Reading::Whole(_) => {}
        }
        Ok(())
    }

    fn take_end(&mut self) -> Result<()> {
        match &mut self.reading {
            Reading::Events(parser) => {
                if let Some(event) = parser.last_event()? {
                    self.decoder.event(&event, &mut self.queue)?;
                }
            }
            Reading::Lines(parser) => {
                if let Some(line) = parser.last_line()? {
                    self.decoder.event(&line.into(), &mut self.queue)?;
                }
            }
            Reading::Whole(all) => self.decoder.whole(all, &mut self.queue)?,
            Reading::Unknown(_) => {}
        }
        self.decoder.end(&mut self.queue)
    }
}

impl<D: Decode> Stream for WireStream<D> {
    type Item = Result<ChatEvent>;

    fn poll_next(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(event) = this.queue.pop_front() {
                if matches!(event, ChatEvent::Finished { .. }) {
                    this.over = true;
                    // The end of the body is mostly there already; taking it lets the connection
                    // serve the next call.
                    let _ = this.body.poll_chunk(task);
                }
                return Poll::Ready(Some(Ok(event)));
            }
            if let Some(error) = this.failure.take() {
                this.over = true;
                return Poll::Ready(Some(Err(error)));
            }
            if this.over {
                return Poll::Ready(None);
            }
            let outcome = match ready!(this.body.poll_chunk(task)) {
                Some(Ok(chunk)) => this.take_chunk(&chunk),
                Some(Err(error)) => Err(error),
                None => {
                    this.over = true;
                    this.take_end()
                }
            };
            // What came before the failure is delivered before it.
            this.failure = outcome.err();
        }
    }
}
