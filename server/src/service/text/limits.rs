//! How much one call may hold. Told by GetServerInfo, enforced by `parse`.

use std::time::Duration;

pub const MESSAGES: usize = 2_000;
pub const PARTS: usize = 4_096;
/// Of UTF-8, all texts together.
pub const TEXT_BYTES: usize = 2 << 20;
pub const INLINE_ASSET_BYTES: usize = 1 << 20;
/// Google's signatures grow with the thinking: about six bytes for a token of it.
pub const OPAQUE_STATE_BYTES: usize = 512 << 10;
/// Of all vectors of one answer: what clients take by default, less what surrounds them.
pub const VECTOR_BYTES: usize = (4 << 20) - (64 << 10);
pub const EMBED_TEXTS: usize = 2_048;
/// Characters of a word that says what vectors are for.
pub const PURPOSE: usize = 64;
pub const STOPS: usize = 8;
pub const TOOLS: usize = 128;
pub const LABELS: usize = 64;
pub const LABEL_KEY: usize = 63;
pub const LABEL_VALUE: usize = 256;
/// Fewest and most members of a comparison.
pub const MEMBERS: (usize, usize) = (2, 8);
pub const FALLBACK_MODELS: usize = 4;
/// How long a resumable generation goes on with nobody listening.
pub const GRACE: Duration = Duration::from_secs(30);
pub const MOST_GRACE: Duration = Duration::from_secs(600);
/// Of JSON that callers write: schemas and provider options.
pub const JSON_BYTES: usize = 64 << 10;
pub const JSON_DEPTH: usize = 32;
