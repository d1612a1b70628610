//! How what stands in columns becomes what stands in rows, and back.

use mediary_store::{Error, Stamp, Version, from_micros};

use crate::fault::Result;

/// A version, for a column.
pub(crate) fn to_column(version: Version) -> i64 {
    i64::try_from(version.0).unwrap_or(i64::MAX)
}

pub(crate) fn from_column(version: i64) -> Result<Version> {
    match u64::try_from(version) {
        Ok(version) => Ok(Version(version)),
        Err(_) => Err(Error::Corrupt(format!("a version is {version}")))?,
    }
}

/// The stamp of a row, from its three columns.
pub(crate) fn stamp(version: i64, created_at: i64, updated_at: i64) -> Result<Stamp> {
    Ok(Stamp {
        version: from_column(version)?,
        create_time: from_micros(created_at),
        update_time: from_micros(updated_at),
    })
}

/// A hash, from its column.
pub(crate) fn hash(bytes: Vec<u8>, of: &str) -> Result<[u8; 32]> {
    match bytes.try_into() {
        Ok(hash) => Ok(hash),
        Err(_) => Err(Error::Corrupt(format!("the hash of {of} is not 32 bytes")))?,
    }
}

/// The first text that sorts after this one, for pages that begin behind a row.
pub(crate) fn just_after(text: Option<String>) -> String {
    text.map_or_else(String::new, |text| text + "\0")
}

/// The rows to read for a page: one more than it holds, to know whether more follow.
pub(crate) fn rows_for(limit: u32) -> i64 {
    i64::from(limit.max(1)) + 1
}
