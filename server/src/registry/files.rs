//! The files that rows stand in: the built-in catalog, and a folder laid over it.

use std::{collections::BTreeMap, path::Path};

use include_dir::{Dir, include_dir};

static BUILT_IN: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/catalog");

/// Files of one kind of row, built-in ones first, each with where it comes from.
pub fn of_kind(
    folder: Option<&Path>,
    kind: &str,
    problems: &mut Vec<String>,
) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let built_in = BUILT_IN.get_dir(kind).map(|dir| dir.files()).into_iter().flatten();
    for file in built_in {
        if let Some(text) = file.contents_utf8() {
            found.push((format!("catalog/{}", file.path().display()), text.to_owned()));
        }
    }
    let Some(folder) = folder.map(|folder| folder.join(kind)) else {
        return found;
    };
    let Ok(entries) = std::fs::read_dir(&folder) else {
        return found;
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "toml"));
    paths.sort();
    for path in paths {
        found.extend(read(&path, problems));
    }
    found
}

/// Rows by id, each with the file that it stands in.
pub type InFiles<T> = BTreeMap<String, (String, T)>;

/// One file of the built-in catalog.
pub fn built_in(name: &str) -> Option<(String, String)> {
    let text = BUILT_IN.get_file(name)?.contents_utf8()?;
    Some((format!("catalog/{name}"), text.to_owned()))
}

/// One file of the folder, if it is there.
pub fn single(
    folder: Option<&Path>,
    name: &str,
    problems: &mut Vec<String>,
) -> Option<(String, String)> {
    let path = folder?.join(name);
    if path.exists() { read(&path, problems) } else { None }
}

fn read(path: &Path, problems: &mut Vec<String>) -> Option<(String, String)> {
    match std::fs::read_to_string(path) {
        Ok(text) => Some((path.display().to_string(), text)),
        Err(error) => {
            problems.push(format!("{}: {error}", path.display()));
            None
        }
    }
}

/// The name of a file without its folder and its end.
pub fn stem(origin: &str) -> &str {
    let file = origin.rsplit('/').next().unwrap_or(origin);
    file.strip_suffix(".toml").unwrap_or(file)
}

/// RFC 1034 labels: what a segment of a resource name may be.
pub fn check_id(origin: &str, id: &str, problems: &mut Vec<String>) {
    if !is_id(id) {
        problems.push(format!(
            "{origin}: id {id:?} is not of the form [a-z]([a-z0-9-]{{0,61}}[a-z0-9])?"
        ));
    }
}

pub fn is_id(id: &str) -> bool {
    id.len() <= 63
        && id.starts_with(|c: char| c.is_ascii_lowercase())
        && !id.ends_with('-')
        && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}
