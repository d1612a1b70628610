//! What SQLite's failures mean for a caller.
//!
//! Source: <https://www.sqlite.org/rescode.html>. The low byte of a code is its class.

use mediary_store::Error;

/// A failure on its way out, already understood.
#[derive(Debug)]
pub(crate) struct Fault(pub Error);

pub(crate) type Result<T, E = Fault> = std::result::Result<T, E>;

impl Fault {
    /// Whether it may have taken the whole transaction with it, and not just one statement.
    pub fn spoils_transaction(&self) -> bool {
        matches!(self.0, Error::Unavailable(_) | Error::Full | Error::Corrupt(_))
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        let error = match error {
            E::Database(inner) => {
                let code = inner.code().and_then(|code| code.parse::<u32>().ok());
                of_code(code.unwrap_or(0), inner.message())
            }
            E::ColumnDecode { source, .. } | E::Decode(source) => {
                Error::Corrupt(source.to_string())
            }
            E::PoolClosed | E::WorkerCrashed => Error::Unavailable("it is closed".into()),
            E::PoolTimedOut => Error::Unavailable("all readers are busy".into()),
            E::Io(inner) => Error::Unavailable(inner.to_string()),
            other => Error::Bug(other.to_string()),
        };
        // Callers are not told what is inside the machine, so this is where it is said.
        if matches!(error, Error::Corrupt(_) | Error::Full | Error::Bug(_) | Error::Unavailable(_))
        {
            tracing::error!(%error, "the store failed");
        }
        Self(error)
    }
}

fn of_code(code: u32, message: &str) -> Error {
    const BUSY: u32 = 5;
    const LOCKED: u32 = 6;
    const READ_ONLY: u32 = 8;
    const INTERRUPT: u32 = 9;
    const IO: u32 = 10;
    const CORRUPT: u32 = 11;
    const FULL: u32 = 13;
    const CANNOT_OPEN: u32 = 14;
    const NOT_A_DATABASE: u32 = 26;
    match code & 0xff {
        FULL => Error::Full,
        INTERRUPT => Error::Unavailable("the query took too long".into()),
        BUSY | LOCKED | READ_ONLY | IO | CANNOT_OPEN => {
            Error::Unavailable(format!("{message} (SQLite code {code})"))
        }
        CORRUPT | NOT_A_DATABASE => Error::Corrupt(format!("{message}: restore a backup")),
        _ => Error::Bug(format!("{message} (SQLite code {code})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_room_is_not_the_same_as_no_disk() {
        const IO_FSYNC: u32 = 10 | (4 << 8);
        assert_eq!(of_code(13, "database or disk is full"), Error::Full);
        assert!(matches!(of_code(IO_FSYNC, "disk I/O error"), Error::Unavailable(_)));
        assert!(matches!(of_code(267, "malformed"), Error::Corrupt(_)));
    }
}
