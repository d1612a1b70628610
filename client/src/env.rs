//! The one place where the environment is read.

/// Address of the server.
pub(crate) const URL: &str = "MEDIARY_URL";
/// Key of the caller.
pub(crate) const API_KEY: &str = "MEDIARY_API_KEY";
/// File with the certificates that may have signed the server's.
pub(crate) const CA: &str = "MEDIARY_CA";
/// The profile that gives what the variables above leave open.
pub(crate) const PROFILE: &str = "MEDIARY_PROFILE";

/// The value of a variable; nothing when it is unset, empty or not Unicode.
#[expect(clippy::disallowed_methods, reason = "the client's one door to the environment")]
pub(crate) fn var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
