//! How capabilities, providers and models look to a caller: what only operators or admins see is
//! left out for all others.

use std::fmt::Debug;

use mediary_domain::{MediaKind, PriceScale};
use mediary_proto::v1::{AsyncMode, Capability, Model, ModelOrigin, Price, Provider, price::Rate};
use mediary_store::Stamp;
use sha2::{Digest as _, Sha256};

use super::rows::{CapabilityView, ModelView, ProviderView};
use crate::{
    access::Role,
    registry::{DatedPrice, Origin},
    service::{catalog::settings, decide},
};

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

pub fn provider(view: &ProviderView<'_>, role: Role) -> Provider {
    let row = &view.entry.row;
    let to = |least: Role, text: String| if role >= least { text } else { String::new() };
    Provider {
        name: view.name.clone(),
        display_name: row.display_name.clone(),
        kind: view.kind().into(),
        protocol: view.protocol.clone(),
        capabilities: view.capabilities.iter().map(|&id| id.to_owned()).collect(),
        health: view.health().into(),
        accounts_usable: count(view.entry.usable()),
        configured: view.is_configured(),
        required_env: row.required_env(),
        documentation_uri: row.documentation_uri.clone(),
        base_uri: to(Role::Admin, row.base_uri.clone()),
        auth_scheme: to(Role::Operator, row.auth.scheme.as_str().to_owned()),
        async_mode: AsyncMode::Sync.into(),
        default_limits: None,
        protocol_settings_json: to(Role::Admin, settings::show(row)),
        origin: origin(row.origin).into(),
        update_time: update_time(row.stamp.as_ref()),
        etag: etag(row.stamp.as_ref(), row),
    }
}

pub fn model(view: &ModelView<'_>) -> Model {
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
        enabled: Some(row.enabled),
        update_time: update_time(row.stamp.as_ref()),
        etag: etag(row.stamp.as_ref(), row),
    }
}

fn price(dated: &DatedPrice) -> Price {
    Price {
        unit: dated.price.unit.as_str().to_owned(),
        rate: Some(match dated.price.unit.scale() {
            PriceScale::PerMillion => Rate::MicroUsdPerMillion(dated.price.micro_usd()),
            PriceScale::PerUnit => Rate::MicroUsdPerUnit(dated.price.micro_usd()),
        }),
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

pub fn origin(origin: Origin) -> ModelOrigin {
    match origin {
        Origin::Config | Origin::BuiltIn | Origin::Environment => ModelOrigin::Config,
        Origin::Discovered => ModelOrigin::Discovered,
        Origin::Manual => ModelOrigin::Manual,
    }
}

fn update_time(stamp: Option<&Stamp>) -> Option<prost_types::Timestamp> {
    let stamp = stamp.filter(|stamp| **stamp != Stamp::default());
    stamp.map(|stamp| stamp.update_time.into())
}

/// The version of a row that the store keeps. Of one below, a text that changes when anything in
/// the row does, also what the caller is not shown: its debug text has every field. It does not
/// change with what is worked out, such as availability.
fn etag(stamp: Option<&Stamp>, row: &impl Debug) -> String {
    if let Some(stamp) = stamp {
        return decide::etag(stamp);
    }
    let hash = Sha256::digest(format!("{row:?}"));
    let short: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{short}\"")
}
