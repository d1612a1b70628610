//! The data directory: made so that only we can read it, and used by one process at a time.
//!
//! The lock belongs to the open file: it ends with the process, however that ends.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use mediary_store::{Error, Result};

/// The data directory, as long as this is kept.
pub(crate) struct Lock {
    _file: File,
    directory: PathBuf,
}

impl Lock {
    /// Takes the directory, and makes it if need be.
    pub fn take(directory: &Path) -> Result<Self> {
        Self::try_take(directory).unwrap_or_else(|error| Err(unavailable(directory, &error)))
    }

    fn try_take(directory: &Path) -> io::Result<Result<Self>> {
        if !directory.exists() {
            make_directory(directory)?;
        }
        let path = directory.join("mediary.lock");
        let mut file = private().read(true).write(true).create(true).truncate(false).open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Only for the message: it may be half written.
                let _ = file.read_to_string(&mut holder);
                return Ok(Err(in_use(directory, holder.trim())));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Ok(Self { _file: file, directory: directory.to_owned() }))
    }

    /// The database file, made empty and for us alone if it is not there. The files that SQLite
    /// puts beside it take over who may read it.
    pub fn database(&self) -> Result<PathBuf> {
        let path = self.directory.join("mediary.db");
        let made = private().write(true).create_new(true).open(&path).map(drop);
        match made {
            Ok(()) => sync(&self.directory).map_err(|error| unavailable(&path, &error))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(unavailable(&path, &error)),
        }
        Ok(path)
    }

    /// Whether the last process that used the directory did not come to its end: only then is the
    /// write-ahead log still there.
    pub fn was_left_open(&self) -> bool {
        self.directory.join("mediary.db-wal").exists()
    }
}

fn in_use(directory: &Path, holder: &str) -> Error {
    let directory = directory.display();
    let who = if holder.is_empty() { String::new() } else { format!(" (process {holder})") };
    Error::InUse(format!(
        "the data directory {directory} is used by another process{who}: stop it, or use another \
         directory"
    ))
}

fn unavailable(path: &Path, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::Full,
        _ => Error::Unavailable(format!("{}: {error}", path.display())),
    }
}

fn make_directory(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)?;
    directory.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), sync)
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes new entries of a directory durable.
fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
