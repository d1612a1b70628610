//! What lists of models share: their pages, and what is told of a model.

/// Pages that are read, each as long as the vendor makes them: far more models than there will be.
pub const MOST_PAGES: usize = 8;

/// Whether a vendor's token may stand in an address as it is. One that may not ends the list.
pub fn is_token(token: &str) -> bool {
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'=');
    !token.is_empty() && token.bytes().all(is_plain)
}

/// Of all that could be said, what is true.
pub fn told<T, const N: usize>(all: [(T, bool); N]) -> Vec<T> {
    all.into_iter().filter(|(_, is)| *is).map(|(one, _)| one).collect()
}
