//! What the contract says about each RPC: who may call it and how long it may take.
//!
//! Read from the descriptor set when the server starts. An RPC without a policy does not start:
//! nothing is open by omission.

use std::{collections::HashMap, sync::Arc, time::Duration};

use mediary_proto::{FILE_DESCRIPTOR_SET, options as wire};
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, Value};

use crate::access::Role;

/// The policy of one RPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method {
    /// `mediary.v1.TextService.StreamText`.
    pub full_name: String,
    /// `mediary.v1.TextService/StreamText`.
    pub rpc: Arc<str>,
    pub streams: bool,
    pub default_deadline: Duration,
    pub max_deadline: Duration,
    /// The lowest role that may call it.
    pub role: Role,
    /// Whether each call leaves an audit event.
    pub audited: bool,
    /// Whether this build serves it.
    pub is_served: bool,
}

impl Method {
    /// Whether it is one of those that run the server.
    pub fn is_admin(&self) -> bool {
        self.full_name.starts_with("mediary.admin.")
    }
}

/// By HTTP path, `/mediary.v1.TextService/StreamText`.
#[derive(Debug, Default)]
pub struct Methods(HashMap<String, Method>);

impl Methods {
    /// Reads the contract; `served` are the full names of the RPCs that are built.
    pub fn read(served: &[&str]) -> Result<Self, String> {
        let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET)
            .map_err(|error| format!("the contract cannot be read: {error}"))?;
        let ours = pool.services().filter(|one| one.package_name().starts_with("mediary."));
        let mut methods = HashMap::new();
        for method in ours.flat_map(|service| service.methods().collect::<Vec<_>>()) {
            let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
            methods.insert(path, policy(&pool, &method, served)?);
        }
        match served.iter().find(|name| !methods.values().any(|one| one.full_name == **name)) {
            Some(unknown) => Err(format!("{unknown} is served but not in the contract")),
            None => Ok(Self(methods)),
        }
    }

    pub fn get(&self, path: &str) -> Option<&Method> {
        self.0.get(path)
    }
}

fn policy(
    pool: &DescriptorPool,
    method: &MethodDescriptor,
    served: &[&str],
) -> Result<Method, String> {
    let name = method.full_name();
    let missing = |what: &str| format!("{name} has no {what} in its mediary.options.v1.policy");
    let extension = pool
        .get_extension_by_name("mediary.options.v1.policy")
        .ok_or("the contract lacks mediary.options.v1.policy")?;
    let options = method.options();
    let policy = options.get_extension(&extension);
    let policy = policy.as_message().ok_or_else(|| missing("policy"))?;
    let number = |field: &str| {
        let value = policy.get_field_by_name(field);
        value.and_then(|value| value.as_enum_number()).filter(|number| *number != 0)
    };
    number("cost_class").ok_or_else(|| missing("cost_class"))?;
    let role = number("required_role")
        .and_then(|number| wire::Role::try_from(number).ok())
        .and_then(role)
        .ok_or_else(|| missing("required_role"))?;
    let audited = policy.get_field_by_name("audited").and_then(|value| value.as_bool());
    let duration = |field: &str| {
        policy
            .get_field_by_name(field)
            .as_deref()
            .and_then(Value::as_message)
            .and_then(seconds)
            .ok_or_else(|| missing(field))
    };
    Ok(Method {
        is_served: served.contains(&name),
        rpc: format!("{}/{}", method.parent_service().full_name(), method.name()).into(),
        streams: method.is_server_streaming(),
        default_deadline: duration("default_deadline")?,
        max_deadline: duration("max_deadline")?,
        role,
        audited: audited.unwrap_or(false),
        full_name: name.to_owned(),
    })
}

/// A role of the contract; none for the one that is never valid.
pub fn role(role: wire::Role) -> Option<Role> {
    match role {
        wire::Role::Unspecified => None,
        wire::Role::Viewer => Some(Role::Viewer),
        wire::Role::User => Some(Role::User),
        wire::Role::Operator => Some(Role::Operator),
        wire::Role::Admin => Some(Role::Admin),
    }
}

fn seconds(message: &DynamicMessage) -> Option<Duration> {
    let seconds = message.get_field_by_name("seconds")?.as_i64()?;
    let whole = Duration::from_secs(u64::try_from(seconds).ok()?);
    (!whole.is_zero()).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rpc_of_the_contract_has_a_whole_policy() {
        let methods = Methods::read(&["mediary.v1.TextService.StreamText"]).unwrap();
        assert!(methods.0.len() > 80, "{}", methods.0.len());
        let stream = methods.get("/mediary.v1.TextService/StreamText").unwrap();
        assert!(stream.is_served && stream.streams);
        assert_eq!(stream.default_deadline, Duration::from_secs(600));
        assert_eq!(stream.max_deadline, Duration::from_secs(1_800));
        assert_eq!((stream.role, stream.audited), (Role::User, false));
        let create = methods.get("/mediary.admin.v1.ApiKeyService/CreateApiKey").unwrap();
        assert_eq!((create.role, create.audited), (Role::Admin, true));
        assert!(methods.0.values().all(|one| one.max_deadline >= one.default_deadline));
        assert!(Methods::read(&["mediary.v1.TextService.Sing"]).is_err());
    }
}
