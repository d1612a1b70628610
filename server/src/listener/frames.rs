//! What a peer spends on HTTP/2 frames that carry no call, and headers that it leaves half said.
//!
//! h2 answers every PING and SETTINGS for as long as they come, which costs most of a core, and
//! waits for the rest of a header for ever. Here frames are told apart by their first nine bytes
//! (RFC 9113, 4.1), and nothing else of them is looked at.

use std::time::{Duration, Instant};

use crate::clock::Clock;

/// What frames that carry no call may cost a second: 1 MiB.
const RATE: u64 = 1 << 20;
/// Spent without a look at the clock.
const QUANTUM: u64 = 64 << 10;
/// The least that a frame costs which has to be answered: 8,192 of them a second.
const ANSWERED: u64 = 128;

const HEAD: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// Follows the frames of one peer.
pub struct Frames {
    clock: Clock,
    head: [u8; HEAD],
    /// Bytes of the head that have come.
    known: usize,
    /// Bytes of the payload that are to come.
    left: usize,
    /// A frame that carries no data is under way.
    is_open: bool,
    /// The peer owes the end of a header, or its first word.
    owes: bool,
    spent: u64,
    since: Instant,
}

impl Frames {
    /// Behind the preface.
    pub fn new(clock: Clock) -> Self {
        let since = clock.now();
        let head = [0; HEAD];
        Self { clock, head, known: 0, left: 0, is_open: false, owes: true, spent: 0, since }
    }

    /// Takes what came from the peer.
    pub fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let here = self.left.min(bytes.len());
                self.left -= here;
                bytes = &bytes[here..];
            } else {
                let here = (HEAD - self.known).min(bytes.len());
                self.head[self.known..self.known + here].copy_from_slice(&bytes[..here]);
                self.known += here;
                bytes = &bytes[here..];
                if self.known == HEAD {
                    self.begin();
                }
            }
            if self.left == 0 && self.known == 0 {
                self.is_open = false;
            }
        }
    }

    fn begin(&mut self) {
        let [high, middle, low, kind, flags, ..] = self.head;
        self.known = 0;
        self.left = u32::from_be_bytes([0, high, middle, low]) as usize;
        self.is_open = kind != DATA;
        let size = (HEAD + self.left) as u64;
        match kind {
            DATA => {}
            HEADERS | CONTINUATION => self.owes = flags & END_HEADERS == 0,
            WINDOW_UPDATE => self.spent += size,
            _ => {
                // The first word of a peer is SETTINGS (RFC 9113, 3.4).
                self.owes &= kind != SETTINGS;
                self.spent += size.max(ANSWERED);
            }
        }
    }

    /// Whether the peer has begun something that it must not take long for.
    pub fn is_owed(&self) -> bool {
        self.owes || (self.is_open && self.left > 0)
    }

    /// How long nothing more shall be read, when too much was spent.
    pub fn overdrawn(&mut self) -> Option<Duration> {
        if self.spent < QUANTUM {
            return None;
        }
        let now = self.clock.now();
        let due = Duration::from_micros(self.spent * 1_000_000 / RATE);
        let wait = due.saturating_sub(now.saturating_duration_since(self.since));
        self.spent = 0;
        self.since = now + wait;
        (!wait.is_zero()).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        frame.resize(HEAD + usize::from(length), 0);
        frame
    }

    #[test]
    fn what_is_owed_is_the_same_however_the_bytes_are_cut() {
        let said = [
            frame(SETTINGS, 0, 6),
            frame(HEADERS, 0, 20),
            frame(CONTINUATION, END_HEADERS, 3),
            frame(DATA, 0, 50),
        ]
        .concat();
        // SETTINGS whole at 15; the header ends at 56; data is never owed.
        let owed = |at: usize| at < 15 || (24..56).contains(&at);
        for piece in [1, 2, 7, said.len()] {
            let mut frames = Frames::new(Clock::system());
            assert!(frames.is_owed());
            let mut at = 0;
            for bytes in said.chunks(piece) {
                frames.take(bytes);
                at += bytes.len();
                assert_eq!(frames.is_owed(), owed(at), "at {at} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn answers_are_paid_for_and_calls_are_not() {
        let mut frames = Frames::new(Clock::system());
        let call = [frame(HEADERS, END_HEADERS, 90), frame(DATA, 1, 200)].concat();
        frames.take(&call.repeat(10_000));
        assert_eq!(frames.overdrawn(), None);
        let ping = frame(6, 0, 8);
        frames.take(&ping.repeat(8_192));
        // A second's worth, and hardly any time has passed.
        let wait = frames.overdrawn().unwrap();
        assert!(wait > Duration::from_millis(500) && wait <= Duration::from_secs(1), "{wait:?}");
        assert_eq!(frames.overdrawn(), None);
    }
}
