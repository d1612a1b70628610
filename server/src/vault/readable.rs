//! Where an account may say that its key is, and reading it there.
//!
//! Only what the configuration opened can be read: a caller who may add accounts must not be able
//! to send any variable or file of this machine to an address of their choice.

use std::{
    fs::File,
    io::Read as _,
    path::{Component, Path, PathBuf},
};

use zeroize::Zeroizing;

use crate::config::{Environment, Secret, VaultSection};

/// Ends what is said of a file that may be read and is not there.
const MISSING: &str = "does not exist";
/// No key of a provider is longer.
const LONGEST: u64 = 64 * 1024;

/// A place that an account names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference<'a> {
    Variable(&'a str),
    File(&'a str),
}

/// What may be read.
pub struct Readable {
    environment: Environment,
    /// Names, or beginnings of names with a `*` behind.
    variables: Vec<String>,
    directory: Option<PathBuf>,
}

impl<'a> Reference<'a> {
    pub fn parse(text: &'a str) -> Result<Self, String> {
        let expected = || "must be env:NAME or file:PATH".to_owned();
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        match text.split_once(':') {
            Some(("env", name)) if is_name(name) => Ok(Self::Variable(name)),
            Some(("file", path)) if !path.is_empty() && !path.contains('\0') => {
                Ok(Self::File(path))
            }
            _ => Err(expected()),
        }
    }
}

impl Readable {
    pub fn new(environment: Environment, section: &VaultSection) -> Self {
        Self {
            environment,
            variables: section.readable_variables.clone(),
            directory: section.readable_directory.clone(),
        }
    }

    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Whether `vault.readable_variables` names the variable.
    pub fn names(&self, variable: &str) -> bool {
        self.variables.iter().any(|one| match one.strip_suffix('*') {
            Some(begin) => variable.starts_with(begin),
            None => one == variable,
        })
    }

    /// The key in a variable; whether it may be read is asked before.
    pub fn variable(&self, name: &str) -> Result<Secret, String> {
        match self.environment.get(name) {
            Some(value) => key(value),
            None => Err(format!("the environment variable {name} is not set")),
        }
    }

    /// The key in a file below `vault.readable_directory`.
    pub fn file(&self, path: &str) -> Result<Secret, String> {
        let found = self.find(path)?;
        let unreadable = |error: std::io::Error| format!("file:{path} cannot be read: {error}");
        let mut text = Zeroizing::new(String::new());
        let file = File::open(&found).map_err(unreadable)?;
        if file.metadata().map_err(unreadable)?.len() > LONGEST {
            return Err(format!("file:{path} is too long for a key"));
        }
        file.take(LONGEST).read_to_string(&mut text).map_err(unreadable)?;
        key(&text)
    }

    /// Whether a file may be named, be it there or not.
    pub fn allows(&self, path: &str) -> Result<(), String> {
        match self.find(path) {
            Err(problem) if !problem.ends_with(MISSING) => Err(problem),
            _ => Ok(()),
        }
    }

    /// The real place of a file, if it lies below the folder.
    fn find(&self, path: &str) -> Result<PathBuf, String> {
        let Some(directory) = &self.directory else {
            return Err("no file may be read: the server's configuration sets no \
                        vault.readable_directory"
                .to_owned());
        };
        let outside = || format!("file:{path} does not lie below vault.readable_directory");
        if Path::new(path).components().any(|part| part == Component::ParentDir) {
            return Err(outside());
        }
        let missing = |_| format!("file:{path} {MISSING}");
        let root = directory.canonicalize().map_err(missing)?;
        let found = directory.join(path).canonicalize().map_err(missing)?;
        match found.strip_prefix(&root) {
            // A pipe or a device would never end.
            Ok(_) if !found.is_file() => Err(format!("file:{path} is no file")),
            Ok(_) => Ok(found),
            Err(_) => Err(outside()),
        }
    }
}

fn key(text: &str) -> Result<Secret, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("what it names is empty".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("what it names holds a control character and is no key".to_owned());
    }
    Ok(Secret::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn readable(folder: &Path) -> Readable {
        let section = VaultSection {
            readable_variables: vec!["ONE".to_owned(), "TEAM_*".to_owned()],
            readable_directory: Some(folder.join("keys")),
            ..VaultSection::default()
        };
        Readable::new([("ONE", "sk-1")].into_iter().collect(), &section)
    }

    #[test]
    fn only_files_below_the_folder_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("keys/team")).unwrap();
        fs::write(path("keys/team/a"), " sk-a\n").unwrap();
        fs::write(path("outside"), "sk-outside").unwrap();
        symlink(path("outside"), path("keys/out")).unwrap();
        symlink(path("keys/team/a"), path("keys/in")).unwrap();
        let readable = readable(folder.path());
        let read = |name: &str| readable.file(name).map(|key| key.expose().to_owned());

        assert_eq!(read("team/a").unwrap(), "sk-a");
        assert_eq!(read("in").unwrap(), "sk-a");
        assert_eq!(read(path("keys/team/a").to_str().unwrap()).unwrap(), "sk-a");
        for outside in ["../outside", "team/../../outside", "out", "/etc/hostname"] {
            let problem = read(outside).unwrap_err();
            assert!(problem.contains("does not"), "{outside}: {problem}");
        }
        assert!(read("team").unwrap_err().contains("no file"));
        assert!(read("nothing").unwrap_err().contains("does not exist"));
        fs::write(path("keys/empty"), "\n").unwrap();
        assert!(read("empty").is_err());
        let closed = Readable::new(Environment::default(), &VaultSection::default());
        assert!(closed.file("team/a").unwrap_err().contains("vault.readable_directory"));
    }

    #[test]
    fn variables_are_named_whole_or_by_their_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let readable = readable(folder.path());
        assert!(readable.names("ONE") && readable.names("TEAM_A"));
        assert!(!readable.names("ONE_MORE") && !readable.names("TEA") && !readable.names(""));
        assert_eq!(readable.variable("ONE").unwrap().expose(), "sk-1");
        assert!(readable.variable("TEAM_A").unwrap_err().contains("TEAM_A"));
    }

    #[test]
    fn a_reference_names_a_variable_or_a_file() {
        assert_eq!(Reference::parse("env:A_1"), Ok(Reference::Variable("A_1")));
        assert_eq!(Reference::parse("file:/a:b"), Ok(Reference::File("/a:b")));
        for wrong in ["", "A", "env:", "env:A B", "file:", "http://x", "ENV:A", "${A}"] {
            assert!(Reference::parse(wrong).is_err(), "{wrong}");
        }
    }
}
