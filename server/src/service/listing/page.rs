//! Pages: how many rows, and where the next page begins.
//!
//! Owns: `page_size`, and page tokens. A token holds the sort keys of the last row that was shown,
//! sealed, so that rows may come and go between two pages and a caller can neither read nor make
//! one. It is bound to the question it was given for, and good for three days.

use std::{
    cmp::Ordering,
    time::{Duration, SystemTime},
};

use aes_gcm::{
    Aes256Gcm, KeyInit as _, Nonce,
    aead::{Aead as _, Payload},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use mediary_domain::{Error, Kind, Result};
use sha2::{Digest as _, Sha256};

use super::{Asked, Key, Order, Row};
use crate::clock::Clock;

/// Larger ones are lowered to it.
pub const MAX_PAGE_SIZE: i32 = 1_000;
const USUAL_PAGE_SIZE: i32 = 50;
const VALID_FOR: Duration = Duration::from_secs(3 * 24 * 60 * 60);
/// Far above what we seal: spares decoding what cannot be ours.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
const NONCE_BYTES: usize = 12;
const TIME_BYTES: usize = 8;

/// One page of rows, and the token of the next; empty = this is the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<R> {
    pub rows: Vec<R>,
    pub next_page_token: String,
}

/// The question that a token belongs to, as a hash. Only the page size may change between pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope([u8; 32]);

/// Seals and opens page tokens.
pub struct PageTokens {
    cipher: Aes256Gcm,
    clock: Clock,
}

impl Scope {
    pub fn of(rpc: &str, asked: &Asked<'_>) -> Self {
        let mut hash = Sha256::new_with_prefix(b"mediary page token 2");
        for part in [rpc, asked.owner, asked.parent, asked.filter, asked.order_by] {
            // The length first, so that no text can move from one part into the next.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        Self(hash.finalize().into())
    }
}

impl PageTokens {
    /// With a key made from the store's salt, so that tokens outlive the process and are good at
    /// every replica.
    pub fn new(salt: &[u8; 32], clock: Clock) -> Self {
        let key = Sha256::new_with_prefix(b"mediary page tokens").chain_update(salt).finalize();
        Self { cipher: Aes256Gcm::new(&key), clock }
    }

    /// The token of the page that follows the row with these keys.
    pub fn seal(&self, scope: &Scope, last: &[Key]) -> Result<String> {
        let sealing = |_| Error::bug("a page token cannot be sealed");
        let mut clear = seconds(self.clock.wall()).to_be_bytes().to_vec();
        serde_json::to_writer(&mut clear, last)
            .map_err(|_| Error::bug("a page token cannot be written"))?;
        // An id is never given twice, so neither is the nonce, other than by an accident as rare
        // as that of random ones.
        let unique = Sha256::digest(self.clock.resource_id('n'));
        let nonce = unique.first_chunk::<NONCE_BYTES>().copied().unwrap_or_default();
        let payload = Payload { msg: &clear, aad: &scope.0 };
        let sealed = self.cipher.encrypt(&Nonce::from(nonce), payload).map_err(sealing)?;
        Ok(URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat()))
    }

    /// The keys of the last row of the page before.
    pub fn open(&self, scope: &Scope, token: &str) -> Result<Vec<Key>> {
        let (issued, keys) = self.opened(scope, token).ok_or_else(|| {
            refused("is not one that this request was given; leave it empty to start again")
        })?;
        let age = seconds(self.clock.wall()).saturating_sub(issued);
        if age > VALID_FOR.as_secs() {
            return Err(refused("is older than three days; leave it empty to start again"));
        }
        Ok(keys)
    }

    fn opened(&self, scope: &Scope, token: &str) -> Option<(u64, Vec<Key>)> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_BYTES>()?;
        let payload = Payload { msg: sealed, aad: &scope.0 };
        let clear = self.cipher.decrypt(&Nonce::from(*nonce), payload).ok()?;
        let (issued, keys) = clear.split_first_chunk::<TIME_BYTES>()?;
        Some((u64::from_be_bytes(*issued), serde_json::from_slice(keys).ok()?))
    }

    /// Sorts `rows` and cuts out the page that `token` begins.
    pub fn page<R: Row>(
        &self,
        scope: &Scope,
        order: &Order,
        rows: Vec<R>,
        size: i32,
        token: &str,
    ) -> Result<Page<R>> {
        let size = page_size(size)?;
        let last = if token.is_empty() { None } else { Some(self.open(scope, token)?) };
        let mut rows: Vec<_> = rows.into_iter().map(|row| (order.keys(&row), row)).collect();
        if let Some(last) = last {
            rows.retain(|(keys, _)| order.compare(keys, &last) == Ordering::Greater);
        }
        rows.sort_by(|(a, _), (b, _)| order.compare(a, b));
        let is_last = rows.len() <= size;
        rows.truncate(size);
        let next_page_token = match rows.last() {
            Some((keys, _)) if !is_last => self.seal(scope, keys)?,
            _ => String::new(),
        };
        Ok(Page { rows: rows.into_iter().map(|(_, row)| row).collect(), next_page_token })
    }
}

/// How many rows a page may hold: 0 = 50, at most 1,000.
pub fn page_size(asked: i32) -> Result<usize> {
    let size = if asked == 0 { USUAL_PAGE_SIZE } else { asked.min(MAX_PAGE_SIZE) };
    usize::try_from(size).map_err(|_| {
        Error::field("page_size", "must not be negative; 0 is the usual number of rows")
    })
}

/// Since 1970.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn refused(description: &'static str) -> Error {
    Error::new(Kind::PageTokenInvalid, "the page token is not valid")
        .violation("page_token", description)
}
