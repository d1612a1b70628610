//! What lists in pages share.

/// Pages that are read, each as long as the vendor makes them: far more models than there will be.
pub const MOST: usize = 8;

/// Whether a vendor's token may stand in an address as it is. One that may not ends the list.
pub fn is_token(token: &str) -> bool {
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'=');
    !token.is_empty() && token.bytes().all(is_plain)
}
