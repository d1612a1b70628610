//! What an admin may make of a provider.

use mediary_domain::Result;
use mediary_proto::v1::{AsyncMode, Provider, ProviderKind as WireKind};

use super::settings;
use crate::{
    config,
    registry::{Base, ProviderKind, ProviderRow},
    service::{decide::check_readable, problems::Problems},
};

/// Fields that a change never sets.
pub const NOT_SET: &[&str] = &[
    "name",
    "capabilities",
    "health",
    "accounts_usable",
    "configured",
    "origin",
    "update_time",
    "etag",
];

const LONGEST_NAME: usize = 128;
const LONGEST_URI: usize = 2048;

/// The row that the contract's provider describes. `before` is what there was, `fields` those that
/// the request names.
pub fn parse(
    id: &str,
    wire: &Provider,
    before: Option<&Provider>,
    fields: &[String],
    base: &Base,
) -> Result<ProviderRow> {
    let mut problems = Problems::default();
    let kind = match wire.kind() {
        WireKind::Unspecified | WireKind::Remote => ProviderKind::Remote,
        WireKind::Local => ProviderKind::Local,
    };
    if wire.protocol.is_empty() {
        problems.field("provider.protocol", "is required, such as openai-chat");
    }
    check_readable("provider.display_name", &wire.display_name, LONGEST_NAME, &mut problems);
    for (field, uri) in
        [("base_uri", &wire.base_uri), ("documentation_uri", &wire.documentation_uri)]
    {
        if !uri.is_empty() && (uri.len() > LONGEST_URI || !config::is_http_uri(uri)) {
            let problem = "must be an http or https address such as https://api.example.com/v1, \
                           without user, password, query and fragment";
            problems.field(format!("provider.{field}"), problem);
        }
    }
    if !matches!(wire.async_mode(), AsyncMode::Unspecified | AsyncMode::Sync) {
        problems.field("provider.async_mode", "this server knows SYNC only");
    }
    if wire.default_limits.is_some() {
        let problem = "is not kept by this server: set limits at the accounts";
        problems.field("provider.default_limits", problem);
    }
    let dialect = wire.protocol.replace('-', "_");
    let mut own = ProviderRow::plain(id, &dialect);
    own.kind = kind;
    own.display_name = match wire.display_name.as_str() {
        "" => id.to_owned(),
        name => name.to_owned(),
    };
    own.base_uri = wire.base_uri.trim_end_matches('/').to_owned();
    own.documentation_uri.clone_from(&wire.documentation_uri);
    let row = match settings::read(&wire.protocol_settings_json, &own, &wire.auth_scheme) {
        Ok(row) => row,
        Err(error) => {
            problems.add(error);
            return problems.result(own);
        }
    };
    for (path, problem) in row.problems() {
        problems.field("provider.protocol_settings_json", format!("{path} {problem}"));
    }
    for name in row.variables().filter(|name| !base.may_name(name, id)) {
        let problem = format!(
            "the variable {name} may not be read: name it in vault.readable_variables of the \
             server's configuration"
        );
        problems.field("provider.protocol_settings_json", problem);
    }
    let is_new = before.is_none_or(|before| before.required_env != wire.required_env);
    let names_env = fields.iter().any(|field| field == "required_env");
    if names_env && is_new && wire.required_env != row.required_env() {
        let problem = "comes from auth.key_env and auth.base_uri_env of protocol_settings_json: \
                       leave it empty";
        problems.field("provider.required_env", problem);
    }
    problems.result(row)
}
