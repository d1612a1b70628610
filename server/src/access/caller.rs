//! Who makes a call; every method finds it in its request's extensions.

use std::{net::IpAddr, sync::Arc};

use super::{Key, Role};
use crate::telemetry::Tally;

#[derive(Clone)]
pub struct Caller {
    /// Whose work it is. Keys of one owner see the same.
    pub owner: Arc<str>,
    pub role: Role,
    /// `None` = it called without one.
    pub key: Option<Arc<Key>>,
    /// `None` = not known.
    pub address: Option<IpAddr>,
    /// What the call adds up.
    pub tally: Tally,
}

/// Which models and routes a caller may use.
#[derive(Clone, Default)]
pub struct Permit(Option<Arc<Key>>);

impl Caller {
    pub fn anonymous(owner: &'static str, role: Role) -> Self {
        Self { owner: owner.into(), role, key: None, address: None, tally: Tally::default() }
    }

    pub fn with_key(key: Arc<Key>) -> Self {
        Self {
            owner: key.owner.clone(),
            role: key.role,
            key: Some(key),
            address: None,
            tally: Tally::default(),
        }
    }

    /// Whether it may see what belongs to `owner`.
    pub fn sees(&self, owner: &str) -> bool {
        self.role >= Role::Operator || *self.owner == *owner
    }

    pub fn permit(&self) -> Permit {
        Permit(self.key.clone())
    }
}

impl Permit {
    /// Whether the model of that resource name may be used.
    pub fn allows_model(&self, name: &str) -> bool {
        let Some(key) = &self.0 else { return true };
        let allowed = &key.settings.allowed_models;
        let fits = |one: &String| {
            let all_of = one.strip_suffix("/-").and_then(|provider| name.strip_prefix(provider));
            one == name || all_of.is_some_and(|rest| rest.starts_with('/'))
        };
        allowed.is_empty() || allowed.iter().any(fits)
    }

    /// Whether the task may be used.
    pub fn allows_route(&self, task: &str) -> bool {
        let Some(key) = &self.0 else { return true };
        let allowed = &key.settings.allowed_routes;
        allowed.is_empty() || allowed.iter().any(|one| one.strip_prefix("routes/") == Some(task))
    }
}
