//! Names and ids of resources, as the contract has them (AIP-122).

use mediary_domain::{Error, Result};

const ID_EXPECTED: &str = "must be a lower-case letter followed by up to 62 lower-case letters, digits and dashes, not \
     ending in a dash";
/// The longest name that is looked up, and repeated in a failure.
const MAX_NAME_BYTES: usize = 512;

/// `id` in `{collection}/{id}`.
pub fn id_in<'a>(field: &'static str, name: &'a str, collection: &'static str) -> Result<&'a str> {
    let id = name.strip_prefix(collection).and_then(|rest| rest.strip_prefix('/'));
    id.filter(|id| !id.is_empty() && !id.contains('/') && name.len() <= MAX_NAME_BYTES)
        .ok_or_else(|| Error::field(field, format!("must be {collection}/{{id}}")))
}

/// An id that a caller chose.
pub fn chosen_id(field: &'static str, id: &str) -> Result<()> {
    if is_id(id) { Ok(()) } else { Err(Error::field(field, ID_EXPECTED)) }
}

/// A label of RFC 1034 in lower case: what a segment of a name may be.
pub fn is_id(id: &str) -> bool {
    id.len() <= 63
        && id.starts_with(|c: char| c.is_ascii_lowercase())
        && !id.ends_with('-')
        && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_segment_behind_its_collection() {
        assert_eq!(id_in("name", "apiKeys/k1", "apiKeys").unwrap(), "k1");
        for wrong in ["", "k1", "apiKeys", "apiKeys/", "apiKeys/a/b", "accounts/k1", "apiKeysk1"] {
            assert!(id_in("name", wrong, "apiKeys").is_err(), "{wrong:?}");
        }
        assert!(is_id("a") && is_id("a-1") && is_id(&"a".repeat(63)));
        for wrong in ["", "1a", "A", "a-", "a_b", "ä", &"a".repeat(64)] {
            assert!(!is_id(wrong), "{wrong:?}");
        }
    }
}
