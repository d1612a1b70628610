//! How capabilities, providers and models look to a caller.
//!
//! Leaves out what only operators and admins see: there are no roles yet, so nobody is one.

use std::fmt::Debug;

use mediary_domain::MediaKind;
use mediary_proto::v1::{AsyncMode, Capability, Model, ModelOrigin, Price, Provider, price::Rate};
use sha2::{Digest as _, Sha256};

use super::rows::{CapabilityView, ModelView, ProviderView};
use crate::registry::DatedPrice;

pub(super) fn capability(view: &CapabilityView) -> Capability {
    let capability = view.capability;
    Capability {
        id: capability.as_str().to_owned(),
        display_name: capability.display_name().to_owned(),
        input_kinds: kinds(capability.inputs()),
        output_kinds: kinds(capability.outputs()),
        interactive: capability.is_interactive(),
        job_input: capability.job_input().to_owned(),
        models_usable: count(view.models_usable),
    }
}

pub(super) fn provider(view: &ProviderView<'_>) -> Provider {
    let row = &view.entry.row;
    Provider {
        name: view.name.clone(),
        display_name: row.display_name.clone(),
        kind: view.kind().into(),
        protocol: view.protocol.clone(),
        capabilities: view.capabilities.iter().map(|&id| id.to_owned()).collect(),
        health: view.health().into(),
        accounts_usable: count(view.entry.accounts.len()),
        configured: view.is_configured(),
        required_env: row.required_env(),
        documentation_uri: row.documentation_uri.clone(),
        base_uri: String::new(),
        auth_scheme: String::new(),
        async_mode: AsyncMode::Sync.into(),
        default_limits: None,
        protocol_settings_json: String::new(),
        origin: ModelOrigin::Config.into(),
        update_time: None,
        etag: etag(row),
    }
}

pub(super) fn model(view: &ModelView<'_>) -> Model {
    let row = view.row;
    Model {
        name: row.name.clone(),
        provider_model_id: row.provider_model_id.clone(),
        display_name: row.display_name.clone(),
        description: row.description.clone(),
        family: row.family.clone(),
        aliases: row.aliases.clone(),
        capabilities: row.capabilities.iter().map(|one| one.as_str().to_owned()).collect(),
        input_kinds: kinds(&row.input_kinds),
        output_kinds: kinds(&row.output_kinds),
        context_tokens: row.context_tokens,
        max_output_tokens: row.max_output_tokens,
        features: row.features.clone(),
        parameter_schema_json: String::new(),
        limits: None,
        prices: row.prices.iter().map(price).collect(),
        lifecycle: view.lifecycle().into(),
        replacement: match row.replacement.as_str() {
            "" => String::new(),
            id => format!("providers/{}/models/{id}", row.provider),
        },
        availability: view.availability().into(),
        statistics: None,
        local: view.entry.row.is_local(),
        origin: view.origin().into(),
        enabled: Some(true),
        update_time: None,
        etag: etag(row),
    }
}

fn price(dated: &DatedPrice) -> Price {
    Price {
        unit: dated.price.unit.as_str().to_owned(),
        rate: Some(Rate::MicroUsdPerMillion(dated.price.micro_usd_per_million)),
        effective_time: dated.effective.map(Into::into),
        source: dated.source.clone(),
    }
}

fn kinds(kinds: &[MediaKind]) -> Vec<String> {
    kinds.iter().map(|kind| kind.as_str().to_owned()).collect()
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Changes when anything in the row does, also what the caller is not shown: its debug text has
/// every field. It does not change with what is worked out, such as availability.
fn etag(row: &impl Debug) -> String {
    let hash = Sha256::digest(format!("{row:?}"));
    let short: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{short}\"")
}
