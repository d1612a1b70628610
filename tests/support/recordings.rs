//! Recorded traffic: `<provider>/<case>/case.json` and the body beside it. The format and every
//! fact of `expect` are described in tests/recordings/README.md.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;

#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    #[serde(skip)]
    pub name: String,
    #[serde(skip)]
    pub folder: PathBuf,
    pub provider: String,
    pub operation: String,
    #[serde(default)]
    pub protocol: String,
    #[serde(default)]
    pub request: Request,
    #[serde(default)]
    pub response: Response,
    #[serde(default)]
    pub expect: Value,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct Request {
    #[serde(default)]
    pub path: String,
    #[serde(default)]
    pub body: Value,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct Response {
    #[serde(default)]
    pub status: u16,
    #[serde(default)]
    pub headers: serde_json::Map<String, Value>,
    #[serde(default)]
    pub body_file: Option<String>,
}

/// The project's own recordings.
pub fn own() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings")
}

/// Every case below a folder, in order of its name.
pub fn all(folder: &Path) -> Vec<Case> {
    let mut cases = Vec::new();
    for provider in folders(folder) {
        for case in folders(&provider) {
            let file = case.join("case.json");
            let Ok(text) = fs::read_to_string(&file) else { continue };
            let mut found: Case = serde_json::from_str(&text)
                .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            found.name = case.strip_prefix(folder).unwrap().display().to_string();
            found.folder = case;
            cases.push(found);
        }
    }
    assert!(!cases.is_empty(), "{} holds no case", folder.display());
    cases
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut folders: Vec<_> =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

impl Case {
    pub fn body(&self) -> Vec<u8> {
        match &self.response.body_file {
            Some(file) => fs::read(self.folder.join(file)).expect("the body file"),
            None => Vec::new(),
        }
    }

    pub fn streams(&self) -> bool {
        self.operation.ends_with("_stream")
    }

    pub fn fact(&self, name: &str) -> Option<&Value> {
        self.expect.get(name)
    }

    pub fn text_fact(&self, name: &str) -> Option<&str> {
        self.fact(name)?.as_str()
    }

    pub fn number_fact(&self, name: &str) -> Option<i64> {
        self.fact(name)?.as_i64()
    }

    /// Whether the exchange ended in an answer.
    pub fn succeeds(&self) -> bool {
        self.fact("error_message").is_none()
            && self.fact("error_kind").is_none()
            && self.fact("truncated").and_then(Value::as_bool) != Some(true)
    }
}
