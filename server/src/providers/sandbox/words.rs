//! Made-up words: chance that repeats, sentences from it, and what counts as a token.
//!
//! Owns: the generator and the hash behind "the same request, the same answer"; both are written
//! here because answers must not change with a library.

const ADJECTIVES: &[&str] = &[
    "amber",
    "quiet",
    "early",
    "silver",
    "patient",
    "narrow",
    "bright",
    "distant",
    "gentle",
    "hollow",
    "little",
    "mossy",
    "northern",
    "old",
    "painted",
    "round",
    "salty",
    "tall",
    "warm",
    "wandering",
];
const NOUNS: &[&str] = &[
    "harbor", "lantern", "river", "garden", "kite", "orchard", "teapot", "bridge", "meadow",
    "compass", "window", "clock", "fox", "violin", "cloud", "ferry", "pebble", "library", "path",
    "island",
];
const VERBS: &[&str] = &[
    "follows",
    "remembers",
    "greets",
    "carries",
    "paints",
    "borrows",
    "counts",
    "mirrors",
    "answers",
    "outlasts",
];
const TAILS: &[&str] = &[
    "at noon",
    "before the rain",
    "without a sound",
    "every spring",
    "on the way home",
    "since yesterday",
    "for a while",
    "by candlelight",
    "in good company",
    "all the same",
];

/// Chance that repeats: the same seed and purpose give the same sequence, on every machine.
pub(super) struct Words(u64);

impl Words {
    /// `purpose` keeps sequences of one seed apart, so that one may grow without moving another.
    pub(super) fn new(seed: u64, purpose: &str) -> Self {
        let mut hash = Hash::default();
        hash.add(&seed.to_be_bytes());
        hash.add(purpose.as_bytes());
        Self(hash.value())
    }

    /// SplitMix64.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In `0..count`; 0 where there is nothing to choose from.
    pub(super) fn below(&mut self, count: usize) -> usize {
        ((u128::from(self.next()) * count as u128) >> 64) as usize
    }

    /// In `0.0..1.0`.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(super) fn noun(&mut self) -> &'static str {
        self.pick(NOUNS)
    }

    /// Two words, for a value that only has to be some text.
    pub(super) fn pair(&mut self) -> String {
        format!("{} {}", self.pick(ADJECTIVES), self.pick(NOUNS))
    }

    pub(super) fn sentence(&mut self) -> String {
        let (subject, verb) = (self.pair(), self.pick(VERBS));
        let (object, tail) = (self.pair(), self.pick(TAILS));
        format!("The {subject} {verb} the {object} {tail}.")
    }

    /// Appends this many sentences, each after a space.
    pub(super) fn sentences(&mut self, count: usize, to: &mut String) {
        for _ in 0..count {
            to.push(' ');
            to.push_str(&self.sentence());
        }
    }

    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        from[self.below(from.len())]
    }
}

/// FNV-1a over fields that are kept apart by their lengths.
pub(super) struct Hash(u64);

impl Default for Hash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hash {
    pub(super) fn add(&mut self, field: &[u8]) {
        for byte in (field.len() as u64).to_be_bytes().iter().chain(field) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    pub(super) fn value(&self) -> u64 {
        Words(self.0).next()
    }
}

/// Cuts a text into tokens: a word with the space before it, long words in pieces of `longest`
/// characters. Put together they are the text again.
pub(super) fn tokens(text: &str, longest: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut letters = 0;
        let ends = |c: char| {
            let is_end = letters > 0 && (c.is_whitespace() || letters == longest);
            letters += usize::from(!c.is_whitespace());
            is_end
        };
        let end = rest.find(ends).unwrap_or(rest.len());
        let (token, after) = rest.split_at(end);
        rest = after;
        (!token.is_empty()).then_some(token)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_words_with_their_space_and_add_up_to_the_text() {
        let cut = |text, longest| tokens(text, longest).collect::<Vec<_>>();
        assert_eq!(cut("say hello", 16), ["say", " hello"]);
        assert_eq!(cut("  a\n\nb ", 16), ["  a", "\n\nb", " "]);
        assert_eq!(cut("日本語のテキスト", 3), ["日本語", "のテキ", "スト"]);
        assert_eq!(cut("", 16), [""; 0]);
        for text in ["né à l'été 🦀🦀🦀", " ", "{\"a\":[1,2,3]}"] {
            assert_eq!(cut(text, 2).concat(), text);
        }
    }

    #[test]
    fn words_never_change_because_answers_are_compared() {
        assert_eq!(
            Words::new(7, "text").sentence(),
            "The narrow lantern greets the round compass every spring."
        );
        assert_ne!(Words::new(7, "text").next(), Words::new(7, "reasoning").next());
    }
}
