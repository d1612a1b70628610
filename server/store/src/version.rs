//! The version of the registry, which is also the version of each row: that at which it last
//! changed. So no row ever has the same version twice, not even one that is deleted and made anew.

use std::fmt;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

impl Version {
    /// As the contract shows it in `etag`.
    pub fn to_etag(self) -> String {
        format!("\"{}\"", self.0)
    }

    /// The version that an `etag` names; none for a text that this server never sent.
    pub fn from_etag(etag: &str) -> Option<Self> {
        let digits = etag.strip_prefix('"')?.strip_suffix('"')?;
        let version = Self(digits.parse().ok()?);
        (version.to_etag() == etag).then_some(version)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_comes_back_and_nothing_else_is_one() {
        assert_eq!(Version::from_etag(&Version(17).to_etag()), Some(Version(17)));
        for text in ["", "\"", "17", "\"\"", "\"+7\"", "\"07\"", "\" 7\"", "W/\"7\"", "\"7\"\0"] {
            assert_eq!(Version::from_etag(text), None, "{text:?}");
        }
    }
}
