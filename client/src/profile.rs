//! Profiles: servers by name, in a file of the user's own.
//!
//! Owns: the file, and what counts when options, environment and profile name the same thing.
//! Leaves: the connection (`connect`), the commands that change the file (`cli::profile`).
//! Invariant: the key and the certificates of a profile are for its own address and no other.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{DEFAULT_URL, Error, Result, env};

/// Everything in the file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profiles {
    /// The profile of whoever names none. None = none is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) default: Option<String>,
    #[serde(default, rename = "profile", skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) by_name: BTreeMap<String, Profile>,
}

/// A server, and how to call it.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    /// None = the usual address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) api_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<PathBuf>,
}

/// What a caller says of itself; it wins over environment and profile.
#[derive(Default)]
pub(crate) struct Wish {
    pub(crate) profile: Option<String>,
    pub(crate) url: Option<String>,
    pub(crate) api_key: Option<String>,
    pub(crate) ca: Option<PathBuf>,
}

/// Which server is called, and how.
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) api_key: Option<String>,
    pub(crate) ca: Option<PathBuf>,
    /// The profile that had a say. None = none has.
    pub(crate) profile: Option<String>,
}

impl Profiles {
    /// Where the file is. None = there is no home to keep it in.
    pub(crate) fn path() -> Option<PathBuf> {
        let folder = env::var("XDG_CONFIG_HOME").map(PathBuf::from);
        // A relative path counts as unset, says the XDG standard.
        let folder = folder.filter(|folder| folder.is_absolute());
        let folder = folder.or_else(|| Some(Path::new(&env::var("HOME")?).join(".config")))?;
        Some(folder.join("mediary").join("profiles.toml"))
    }

    /// The file; without one there are no profiles.
    pub(crate) fn load() -> Result<Self> {
        let Some(path) = Self::path() else { return Ok(Self::default()) };
        let wrong = |why: &dyn fmt::Display| {
            Error::setup(format!("the profiles in {} cannot be used: {why}", path.display()))
        };
        match fs::read_to_string(&path) {
            // The parser's long form would show the line, which may hold a key.
            Ok(text) => toml::from_str(&text).map_err(|error| wrong(&error.message())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(wrong(&error)),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Result<&Profile> {
        self.by_name.get(name).ok_or_else(|| {
            let known = self.by_name.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            let known = if known.is_empty() { "there is none".to_owned() } else { known };
            Error::setup(format!("there is no profile `{name}`; known: {known}"))
        })
    }
}

impl Profile {
    pub(crate) fn address(&self) -> &str {
        self.url.as_deref().unwrap_or(DEFAULT_URL)
    }
}

impl Place {
    /// Settles each thing by itself: the caller's wish, else the environment, else the profile, else
    /// the default.
    pub(crate) fn settle(wish: Wish) -> Result<Self> {
        let profiles = Profiles::load()?;
        let name = wish.profile.or_else(|| env::var(env::PROFILE)).or(profiles.default.clone());
        let profile = match &name {
            Some(name) => profiles.get(name)?.clone(),
            None => Profile::default(),
        };
        let wish = Wish {
            profile: name,
            url: wish.url.or_else(|| env::var(env::URL)),
            api_key: wish.api_key.or_else(|| env::var(env::API_KEY)),
            ca: wish.ca.or_else(|| env::var(env::CA).map(PathBuf::from)),
        };
        Ok(Self::laid(wish, profile))
    }

    fn laid(wish: Wish, profile: Profile) -> Self {
        let address = profile.address().to_owned();
        let url = wish.url.unwrap_or_else(|| address.clone());
        let Profile { api_key, ca, .. } =
            if is_same(&url, &address) { profile } else { Profile::default() };
        Self {
            api_key: wish.api_key.or(api_key),
            ca: wish.ca.or(ca),
            profile: wish.profile.filter(|_| is_same(&url, &address)),
            url,
        }
    }
}

fn is_same(one: &str, other: &str) -> bool {
    let plain = |url: &str| url.trim_end_matches('/').to_ascii_lowercase();
    plain(one) == plain(other)
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profile")
            .field("url", &self.url)
            .field("api_key", &self.api_key.as_ref().map(|_| "***"))
            .field("ca", &self.ca)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> Profile {
        Profile {
            url: Some("https://mediary.example".into()),
            api_key: Some("mdy_secret".into()),
            ca: Some("ca.pem".into()),
        }
    }

    #[test]
    fn a_profile_gives_what_nobody_else_names() {
        let place = Place::laid(Wish::default(), profile());
        assert_eq!(place.url, "https://mediary.example");
        assert_eq!(place.api_key.as_deref(), Some("mdy_secret"));
        let wish = Wish { api_key: Some("other".into()), ..Wish::default() };
        let place = Place::laid(wish, profile());
        assert_eq!(place.api_key.as_deref(), Some("other"));
        assert_eq!(place.ca, Some("ca.pem".into()));
    }

    #[test]
    fn the_key_of_a_profile_is_never_sent_elsewhere() {
        for elsewhere in ["https://other.example", "http://mediary.example"] {
            let wish = Wish { url: Some(elsewhere.into()), ..Wish::default() };
            let place = Place::laid(wish, profile());
            assert_eq!((place.api_key, place.ca), (None, None), "{elsewhere}");
        }
        let wish = Wish { url: Some("https://mediary.example/".into()), ..Wish::default() };
        assert!(Place::laid(wish, profile()).api_key.is_some());
    }

    #[test]
    fn a_key_is_never_printed() {
        assert!(!format!("{:?}", profile()).contains("secret"));
    }
}
