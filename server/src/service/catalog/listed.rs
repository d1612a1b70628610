//! What a provider's own list makes of the rows.
//!
//! Invariant: only rows that came from such a list are ever changed by one.

use std::collections::{HashMap, HashSet};

use mediary_domain::{Capability, LiveModel, MediaKind};

use super::model::made_id;
use crate::registry::{Entry, Lifecycle, ModelRow, Origin, STREAMING};

/// Rows of one provider that come from its list, retired ones among them.
const MOST: usize = 2_000;
const LONGEST_ID: usize = 256;
const LONGEST_NAME: usize = 128;
/// Of an id that is made, so that a number fits behind it.
const LONGEST_STEM: usize = 56;
/// What a model does where the list does not tell, as far as its provider's wire has it.
const USUAL: [Capability; 3] =
    [Capability::TextToText, Capability::ImageToText, Capability::TextEmbedding];

/// Rows to be kept.
#[derive(Default)]
pub struct Merged {
    pub added: Vec<ModelRow>,
    pub updated: Vec<ModelRow>,
    pub retired: Vec<ModelRow>,
    /// How many have no room.
    pub left_out: usize,
}

/// Lays the list over the rows that are `known` of the provider. `taken` are ids of further rows.
pub fn merge<'a>(
    entry: &Entry,
    known: &[&ModelRow],
    taken: impl Iterator<Item = &'a str>,
    listed: &[LiveModel],
) -> Merged {
    let mut merged = Merged::default();
    let by_id: HashMap<&str, &LiveModel> =
        listed.iter().rev().map(|live| (live.id.as_str(), live)).collect();
    let discovered = || known.iter().filter(|row| row.origin == Origin::Discovered);
    for row in discovered() {
        match by_id.get(row.provider_model_id.as_str()) {
            Some(live) => merged.updated.extend(updated(row, live)),
            None if row.lifecycle != Lifecycle::Retired => {
                let row = ModelRow { lifecycle: Lifecycle::Retired, ..ModelRow::clone(row) };
                merged.retired.push(row);
            }
            None => {}
        }
    }
    let mut names: HashSet<&str> = HashSet::new();
    for row in known {
        names.insert(&row.provider_model_id);
        names.extend(row.aliases.iter().map(String::as_str));
    }
    let mut ids: HashSet<String> = taken.map(str::to_owned).collect();
    ids.extend(known.iter().map(|row| row.id.clone()));
    let room = MOST.saturating_sub(discovered().count());
    // A list that tells what its models do has none of our doing for those of which it tells nothing.
    let tells = listed.iter().any(|live| !live.capabilities.is_empty());
    for live in listed.iter().filter(|live| is_sound(&live.id)) {
        if (tells && live.capabilities.is_empty()) || !names.insert(&live.id) {
            continue;
        }
        if merged.added.len() == room {
            merged.left_out += 1;
        } else if let Some(id) = free_id(&live.id, &ids) {
            ids.insert(id.clone());
            merged.added.push(added(entry, &id, live));
        }
    }
    merged
}

/// The row with what the list says otherwise. What it does not say stays.
fn updated(row: &ModelRow, live: &LiveModel) -> Option<ModelRow> {
    let context_tokens = counted(live.context_tokens).or(row.context_tokens);
    let max_output_tokens = counted(live.max_output_tokens).or(row.max_output_tokens);
    let is_back = row.lifecycle == Lifecycle::Retired;
    let is_same = context_tokens == row.context_tokens
        && max_output_tokens == row.max_output_tokens
        && !is_back;
    let lifecycle = if is_back { Lifecycle::Active } else { row.lifecycle };
    (!is_same).then(|| ModelRow { context_tokens, max_output_tokens, lifecycle, ..row.clone() })
}

fn added(entry: &Entry, id: &str, live: &LiveModel) -> ModelRow {
    let capabilities = if live.capabilities.is_empty() {
        let offers = entry.adapters.own().offers();
        USUAL.into_iter().filter(|one| offers.contains(one)).collect()
    } else {
        live.capabilities.clone()
    };
    let mut features: Vec<String> = live.features.iter().map(|&one| one.to_owned()).collect();
    if capabilities.contains(&Capability::TextToText) && !live.features.contains(&STREAMING) {
        features.push(STREAMING.to_owned());
    }
    let readable = live.display_name.chars().filter(|letter| !letter.is_control());
    ModelRow {
        provider_model_id: live.id.clone(),
        display_name: readable.take(LONGEST_NAME).collect(),
        input_kinds: kinds(&capabilities, |one| one.inputs()),
        output_kinds: kinds(&capabilities, |one| one.outputs()),
        capabilities,
        context_tokens: counted(live.context_tokens),
        max_output_tokens: counted(live.max_output_tokens),
        features,
        origin: Origin::Discovered,
        ..ModelRow::undescribed(&entry.row, id)
    }
}

fn kinds(
    capabilities: &[Capability],
    of: impl Fn(&Capability) -> &'static [MediaKind],
) -> Vec<MediaKind> {
    let mut kinds = Vec::new();
    for kind in capabilities.iter().flat_map(of) {
        if !kinds.contains(kind) {
            kinds.push(*kind);
        }
    }
    kinds
}

/// Some lists say 0 for what they do not know.
fn counted(tokens: Option<i64>) -> Option<i64> {
    tokens.filter(|tokens| *tokens > 0)
}

fn is_sound(provider_model_id: &str) -> bool {
    !provider_model_id.is_empty()
        && provider_model_id.len() <= LONGEST_ID
        && !provider_model_id.chars().any(char::is_control)
}

/// An id out of the provider's own that no other model has.
fn free_id(provider_model_id: &str, taken: &HashSet<String>) -> Option<String> {
    let id = made_id(provider_model_id).or_else(|| {
        let end = provider_model_id.floor_char_boundary(LONGEST_STEM - "model-".len());
        made_id(&format!("model-{}", &provider_model_id[..end]))
    })?;
    if !taken.contains(&id) {
        return Some(id);
    }
    let stem = id[..id.len().min(LONGEST_STEM)].trim_end_matches('-');
    (2..=MOST + 1).map(|n| format!("{stem}-{n}")).find(|id| !taken.contains(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_model_gets_an_id_that_is_its_own() {
        let long = "accounts/someone/models/".repeat(4);
        let mut taken: HashSet<String> = ["gpt-5-mini".to_owned()].into();
        for (own, id) in [
            ("gpt-5 mini", "gpt-5-mini-2"),
            ("gpt_5_mini", "gpt-5-mini-3"),
            ("123", "model-123"),
            ("\u{e4}", "model"),
            ("\u{f6}", "model-2"),
            (&long, "model-accounts-someone-models-accounts-someone-models-ac"),
            (&format!("{long}x"), "model-accounts-someone-models-accounts-someone-models-ac-2"),
        ] {
            let made = free_id(own, &taken).unwrap();
            assert_eq!(made, id, "{own}");
            taken.insert(made);
        }
    }
}
