//! `protocol_settings_json`: what of a provider's row has no field of its own in the contract.

use mediary_domain::{Error, Result};
use serde_json::{Map, Value};

use crate::registry::{AuthScheme, ProviderRow};

/// Of the row, with the field of the contract that carries each.
const OWN_FIELDS: [(&str, &str); 6] = [
    ("id", "name"),
    ("display_name", "display_name"),
    ("dialect", "protocol"),
    ("kind", "kind"),
    ("base_uri", "base_uri"),
    ("documentation_uri", "documentation_uri"),
];
const FIELD: &str = "provider.protocol_settings_json";
const MOST_BYTES: usize = 64 * 1024;

/// Without what is as it would be anyway. Empty = nothing is special.
pub fn show(row: &ProviderRow) -> String {
    let usual = ProviderRow::plain(&row.id, &row.dialect);
    let (Ok(Value::Object(mut whole)), Ok(Value::Object(mut usual))) =
        (serde_json::to_value(row), serde_json::to_value(usual))
    else {
        return String::new();
    };
    for object in [&mut whole, &mut usual] {
        if let Some(Value::Object(auth)) = object.get_mut("auth") {
            auth.shift_remove("scheme");
        }
    }
    whole.retain(|key, value| {
        !OWN_FIELDS.iter().any(|(own, _)| own == key) && usual.get(key) != Some(value)
    });
    if whole.is_empty() { String::new() } else { Value::Object(whole).to_string() }
}

/// The row that the settings and the fields of the contract make together.
/// An empty `scheme` is that of the settings' header, else the usual one of the wire.
pub fn read(settings: &str, own: &ProviderRow, scheme: &str) -> Result<ProviderRow> {
    let wrong = |problem: String| Error::field(FIELD, problem);
    if settings.len() > MOST_BYTES {
        return Err(wrong(format!("has more than {MOST_BYTES} bytes")));
    }
    let mut whole: Map<String, Value> = match settings {
        "" => Map::new(),
        text => match serde_json::from_str(text) {
            Ok(Value::Object(object)) => object,
            Ok(_) => return Err(wrong("must be a JSON object".to_owned())),
            Err(error) => return Err(wrong(format!("is not JSON: {error}"))),
        },
    };
    for (key, field) in OWN_FIELDS {
        if whole.contains_key(key) {
            return Err(wrong(format!("{key} has a field of its own: provider.{field}")));
        }
    }
    let Ok(Value::Object(fields)) = serde_json::to_value(own) else {
        return Err(Error::bug("a provider's row cannot be written"));
    };
    for (key, _) in OWN_FIELDS {
        if let Some(value) = fields.get(key) {
            whole.insert(key.to_owned(), value.clone());
        }
    }
    let auth = whole.entry("auth").or_insert_with(|| Value::Object(Map::new()));
    let Value::Object(auth) = auth else {
        return Err(wrong("auth must be a JSON object".to_owned()));
    };
    if auth.contains_key("scheme") {
        return Err(wrong("auth.scheme has a field of its own: provider.auth_scheme".to_owned()));
    }
    let usual = AuthScheme::usual(&own.dialect);
    let scheme = match scheme {
        "" if auth.contains_key("header") => "header",
        "" => usual.as_str(),
        scheme => scheme,
    };
    if let AuthScheme::Header(name) = &usual
        && scheme == "header"
    {
        auth.entry("header").or_insert_with(|| Value::String(name.clone()));
    }
    auth.insert("scheme".to_owned(), Value::String(scheme.to_owned()));
    serde_json::from_value(Value::Object(whole)).map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(settings: &str, dialect: &str, scheme: &str) -> Result<ProviderRow> {
        read(settings, &ProviderRow::plain("x", dialect), scheme)
    }

    #[test]
    fn what_is_shown_makes_the_same_row() {
        let settings = r#"{"headers":{"x-team":"blue"},"auth":{"header":"x-key"},"open_models":true,
            "openai_chat":{"stream_options":false}}"#;
        let row = of(settings, "openai_chat", "").unwrap();
        assert_eq!(row.auth.scheme, AuthScheme::Header("x-key".to_owned()));
        let again = of(&show(&row), "openai_chat", row.auth.scheme.as_str()).unwrap();
        assert_eq!(format!("{again:?}"), format!("{row:?}"));
        assert_eq!(show(&of("", "openai_chat", "").unwrap()), "");
        assert_eq!(of("", "anthropic", "").unwrap().auth.scheme.as_str(), "header");
        assert!(
            of("", "openai_chat", "header").is_err() && of("", "openai_chat", "query").is_err()
        );
    }
}
