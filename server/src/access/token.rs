//! What a caller sends as its key: `mdy_`, a public part to find the key by, and the secret.

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::clock::Clock;

/// Tells people and secret scanners whose key it is.
const MARK: &str = "mdy_";
const PREFIX: usize = 12;
/// 5 bits each: 260 in all.
const SECRET: usize = 52;
const HINT: usize = 4;

/// A key that was just made: shown once, and then only known by its hash.
pub struct Token {
    pub text: Zeroizing<String>,
    pub prefix: String,
    pub hash: [u8; 32],
    /// Its last characters.
    pub hint: String,
}

impl Token {
    pub fn new(clock: &Clock) -> Self {
        let (prefix, secret) = (clock.random_text(PREFIX), clock.random_text(SECRET));
        let hint = secret[SECRET - HINT..].to_owned();
        let text = Zeroizing::new(format!("{MARK}{prefix}_{secret}"));
        Self { hash: hash(&text), prefix, hint, text }
    }

    /// The public part of a text that may be a key.
    pub fn prefix_of(text: &str) -> Option<&str> {
        let (prefix, rest) = text.strip_prefix(MARK)?.split_at_checked(PREFIX)?;
        rest.starts_with('_').then_some(prefix)
    }
}

/// A secret of 256 random bits needs no slow hash: nobody can guess it.
pub fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}
