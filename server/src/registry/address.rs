//! Where the operations of a provider lie below the base URL of an account.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

/// What RFC 3986 leaves unreserved stays as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Most vendors put their operations right below their base URL and need none of this.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Address {
    /// Between the base URL and an operation, such as `/openai/v1`.
    pub prefix: String,
    /// The same for operations that name their model in the address instead of the body;
    /// `{model}` stands for the provider's own id of it.
    pub model_prefix: String,
    /// Which operations those are, such as `/chat/completions`.
    pub model_operations: Vec<String>,
    /// The version that is asked for where the account names none; empty = none is named.
    pub api_version: String,
    /// Environment variables that name a version; the first that is set wins.
    pub api_version_env: Vec<String>,
}

impl Address {
    /// The whole address of `operation`, with `version` as its query `api-version`.
    pub fn of(&self, base: &str, operation: &str, model: &str, version: Option<&str>) -> String {
        let prefix = if self.model_operations.iter().any(|one| one == operation) {
            let model = utf8_percent_encode(model, SEGMENT).to_string();
            self.model_prefix.replace("{model}", &model)
        } else {
            self.prefix.clone()
        };
        // An account may give its address with the prefix or without.
        let prefix = if base.ends_with(&prefix) { "" } else { &prefix };
        let mut address = format!("{base}{prefix}{operation}");
        if let Some(version) = version.or(Some(&self.api_version)).filter(|one| !one.is_empty()) {
            address.push_str(if operation.contains('?') { "&" } else { "?" });
            address.push_str("api-version=");
            address.extend(utf8_percent_encode(version, SEGMENT));
        }
        address
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "https://res.openai.azure.com";

    #[test]
    fn an_operation_lies_where_the_row_says() {
        let plain = Address::default();
        assert_eq!(
            plain.of(BASE, "/chat/completions", "m", None),
            format!("{BASE}/chat/completions")
        );
        let v1 = Address { prefix: "/openai/v1".to_owned(), ..Address::default() };
        for base in [BASE.to_owned(), format!("{BASE}/openai/v1")] {
            assert_eq!(
                v1.of(&base, "/responses", "m", None),
                format!("{BASE}/openai/v1/responses")
            );
        }
        let versioned = Address {
            prefix: "/openai".to_owned(),
            model_prefix: "/openai/deployments/{model}".to_owned(),
            model_operations: vec!["/embeddings".to_owned()],
            ..Address::default()
        };
        assert_eq!(
            versioned.of(BASE, "/embeddings", "my/model?", Some("2024-10-21")),
            format!("{BASE}/openai/deployments/my%2Fmodel%3F/embeddings?api-version=2024-10-21")
        );
        assert_eq!(
            versioned.of(BASE, "/models?limit=5", "", Some("2024-10-21")),
            format!("{BASE}/openai/models?limit=5&api-version=2024-10-21")
        );
    }
}
