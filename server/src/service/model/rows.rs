//! What is shown of a snapshot, and what a caller may filter and order it by.
//!
//! Owns: the fields of each list, and the facts that are worked out from several rows
//! (availability, what a provider can do). Leaves: their look on the wire (`wire`).

use std::collections::BTreeSet;

use mediary_domain::Capability;
use mediary_proto::v1::{
    ModelAvailability, ModelLifecycle, ModelOrigin, ProviderHealth, ProviderKind as WireKind,
};

use super::wire;
use crate::{
    registry::{Entry, Lifecycle, ModelRow, ProviderKind, Snapshot},
    service::listing::{Field, FieldKind, Listing, Row, Value},
};

pub(super) const CAPABILITIES: Listing = Listing {
    rpc: "mediary.v1.ModelService.ListCapabilities",
    filter: &[],
    order: &["id"],
    usual_order: "id",
};

pub(super) const PROVIDERS: Listing = Listing {
    rpc: "mediary.v1.ModelService.ListProviders",
    filter: &[
        Field::new("name", FieldKind::Text),
        Field::new("display_name", FieldKind::Text),
        Field::new("kind", word(KIND, &["REMOTE", "LOCAL"])),
        Field::new("protocol", FieldKind::Text),
        Field::new("capabilities", FieldKind::List).or("capability"),
        Field::new(
            "health",
            word(HEALTH, &["UNKNOWN", "HEALTHY", "DEGRADED", "UNHEALTHY", "STOPPED"]),
        ),
        Field::new("configured", FieldKind::Bool),
    ],
    order: &["name", "display_name"],
    usual_order: "name",
};

pub(super) const MODELS: Listing = Listing {
    rpc: "mediary.v1.ModelService.ListModels",
    filter: &[
        Field::new("name", FieldKind::Text),
        Field::new("display_name", FieldKind::Text),
        Field::new("family", FieldKind::Text),
        Field::new("provider_model_id", FieldKind::Text),
        Field::new("capabilities", FieldKind::List).or("capability"),
        Field::new("input_kinds", FieldKind::List),
        Field::new("output_kinds", FieldKind::List),
        Field::new("features", FieldKind::List),
        Field::new("aliases", FieldKind::List),
        Field::new("context_tokens", FieldKind::Number),
        Field::new("lifecycle", word(LIFECYCLE, &["ACTIVE", "DEPRECATED", "RETIRED"])),
        Field::new(
            "availability",
            word(
                AVAILABILITY,
                &["USABLE", "NO_ACCOUNT", "RATE_LIMITED", "UNHEALTHY", "RUNTIME_STOPPED"],
            ),
        ),
        Field::new("local", FieldKind::Bool),
        Field::new("origin", word(ORIGIN, &["CONFIG", "DISCOVERED", "MANUAL"])),
    ],
    // Rows below the store say nothing of when they were changed; their names decide.
    order: &["name", "display_name", "context_tokens", "update_time"],
    usual_order: "name",
};

const KIND: &str = "PROVIDER_KIND_";
const HEALTH: &str = "PROVIDER_HEALTH_";
const LIFECYCLE: &str = "MODEL_LIFECYCLE_";
const AVAILABILITY: &str = "MODEL_AVAILABILITY_";
const ORIGIN: &str = "MODEL_ORIGIN_";

const fn word(prefix: &'static str, words: &'static [&'static str]) -> FieldKind {
    FieldKind::Word { prefix, words }
}

pub(super) struct CapabilityView {
    pub capability: Capability,
    pub models_usable: usize,
}

pub struct ProviderView<'a> {
    pub entry: &'a Entry,
    pub name: String,
    pub protocol: String,
    /// Of all its models that are still served, by id.
    pub capabilities: Vec<&'static str>,
}

pub struct ModelView<'a> {
    pub row: &'a ModelRow,
    pub entry: &'a Entry,
}

pub(super) fn capabilities(snapshot: &Snapshot) -> impl Iterator<Item = CapabilityView> {
    let usable: Vec<_> = models(snapshot, None).filter(ModelView::is_usable).collect();
    Capability::ALL.into_iter().map(move |capability| CapabilityView {
        capability,
        models_usable: usable
            .iter()
            .filter(|model| model.row.capabilities.contains(&capability))
            .count(),
    })
}

pub(super) fn providers(snapshot: &Snapshot) -> impl Iterator<Item = ProviderView<'_>> {
    snapshot.providers.values().map(|entry| ProviderView::new(snapshot, entry))
}

pub fn provider<'a>(snapshot: &'a Snapshot, id: &str) -> Option<ProviderView<'a>> {
    snapshot.providers.get(id).map(|entry| ProviderView::new(snapshot, entry))
}

/// The models of one provider, or of all.
pub(super) fn models<'a>(
    snapshot: &'a Snapshot,
    of: Option<&str>,
) -> impl Iterator<Item = ModelView<'a>> {
    let rows = snapshot.models.values().filter(move |row| of.is_none_or(|of| row.provider == of));
    rows.filter_map(|row| Some(ModelView { row, entry: snapshot.providers.get(&row.provider)? }))
}

pub fn model<'a>(snapshot: &'a Snapshot, name: &str) -> Option<ModelView<'a>> {
    let row = snapshot.models.get(name)?;
    Some(ModelView { row, entry: snapshot.providers.get(&row.provider)? })
}

impl<'a> ProviderView<'a> {
    fn new(snapshot: &Snapshot, entry: &'a Entry) -> Self {
        let rows = models(snapshot, Some(&entry.row.id))
            .filter(|model| model.row.lifecycle != Lifecycle::Retired);
        let mut capabilities: BTreeSet<&'static str> =
            rows.flat_map(|model| &model.row.capabilities).map(|one| one.as_str()).collect();
        if entry.row.open_models {
            // It has models that nobody described as well.
            let undescribed = ModelRow::undescribed(&entry.row, "");
            capabilities.extend(undescribed.capabilities.iter().map(|one| one.as_str()));
        }
        Self {
            entry,
            name: entry.row.name(),
            protocol: entry.row.dialect.replace('_', "-"),
            capabilities: capabilities.into_iter().collect(),
        }
    }

    pub(super) fn kind(&self) -> WireKind {
        match self.entry.row.kind {
            ProviderKind::Remote => WireKind::Remote,
            ProviderKind::Local => WireKind::Local,
        }
    }

    pub(super) fn health(&self) -> ProviderHealth {
        ProviderHealth::Unknown
    }

    pub(super) fn is_configured(&self) -> bool {
        self.entry.usable() > 0
    }
}

impl ModelView<'_> {
    pub(super) fn lifecycle(&self) -> ModelLifecycle {
        match self.row.lifecycle {
            Lifecycle::Active => ModelLifecycle::Active,
            Lifecycle::Deprecated => ModelLifecycle::Deprecated,
            Lifecycle::Retired => ModelLifecycle::Retired,
        }
    }

    /// No account may use a retired or disabled model, whatever accounts there are.
    fn is_usable(&self) -> bool {
        self.row.enabled && self.row.lifecycle != Lifecycle::Retired && self.entry.serves(self.row)
    }

    pub(super) fn availability(&self) -> ModelAvailability {
        if self.is_usable() { ModelAvailability::Usable } else { ModelAvailability::NoAccount }
    }

    pub(super) fn origin(&self) -> ModelOrigin {
        wire::origin(self.row.origin)
    }
}

impl Row for CapabilityView {
    fn value(&self, field: &str, _: Option<&str>) -> Value<'_> {
        match field {
            "id" => self.capability.as_str().into(),
            _ => Value::Missing,
        }
    }
}

impl Row for ProviderView<'_> {
    fn value(&self, field: &str, _: Option<&str>) -> Value<'_> {
        match field {
            "name" => self.name.as_str().into(),
            "display_name" => self.entry.row.display_name.as_str().into(),
            "kind" => bare(KIND, self.kind().as_str_name()),
            "protocol" => self.protocol.as_str().into(),
            "capabilities" => Value::List(self.capabilities.clone()),
            "health" => bare(HEALTH, self.health().as_str_name()),
            "configured" => Value::Bool(self.is_configured()),
            _ => Value::Missing,
        }
    }
}

impl Row for ModelView<'_> {
    fn value(&self, field: &str, _: Option<&str>) -> Value<'_> {
        let row = self.row;
        match field {
            "name" => row.name.as_str().into(),
            "display_name" => row.display_name.as_str().into(),
            "family" => row.family.as_str().into(),
            "provider_model_id" => row.provider_model_id.as_str().into(),
            "capabilities" => list(&row.capabilities, |one| one.as_str()),
            "input_kinds" => list(&row.input_kinds, |one| one.as_str()),
            "output_kinds" => list(&row.output_kinds, |one| one.as_str()),
            "features" => list(&row.features, String::as_str),
            "aliases" => list(&row.aliases, String::as_str),
            "context_tokens" => row.context_tokens.into(),
            "lifecycle" => bare(LIFECYCLE, self.lifecycle().as_str_name()),
            "availability" => bare(AVAILABILITY, self.availability().as_str_name()),
            "local" => Value::Bool(self.entry.row.is_local()),
            "origin" => bare(ORIGIN, self.origin().as_str_name()),
            "update_time" => {
                row.stamp.map_or(Value::Missing, |stamp| Value::Time(stamp.update_time))
            }
            _ => Value::Missing,
        }
    }
}

fn list<T>(items: &[T], word: impl Fn(&T) -> &str) -> Value<'_> {
    Value::List(items.iter().map(word).collect())
}

/// The word of an enum without its prefix, as filters know it.
fn bare(prefix: &str, word: &'static str) -> Value<'static> {
    word.strip_prefix(prefix).unwrap_or(word).into()
}
