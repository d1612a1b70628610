//! Finds the model that a caller names.

use std::sync::Arc;

use mediary_domain::{Error, Result};

use super::{Lifecycle, ModelRow, PresetRow, Snapshot};

impl Snapshot {
    /// The model of that name, in this order: resource name; id; alias; the provider's own id.
    /// Each of the last three must fit exactly one model. A provider that takes any name is asked
    /// last, and only by resource name.
    pub fn model(&self, named: &str) -> Result<Arc<ModelRow>> {
        let model = self.named(named)?;
        if model.lifecycle == Lifecycle::Retired { Err(self.retired(&model)) } else { Ok(model) }
    }

    /// The same, retired or not.
    pub fn named(&self, named: &str) -> Result<Arc<ModelRow>> {
        if let Some(model) = self.models.get(named) {
            return Ok(model.clone());
        }
        if let Some((provider, id)) = split_name(named) {
            return match self.providers.get(provider) {
                Some(entry) if entry.row.open_models && !id.is_empty() => {
                    Ok(Arc::new(ModelRow::undescribed(&entry.row, id)))
                }
                Some(_) => Err(self.no_such_model(named)),
                None => {
                    Err(Error::not_found("mediary.v1.Provider", format!("providers/{provider}")))
                }
            };
        }
        let by: [fn(&ModelRow, &str) -> bool; 3] = [
            |row, named| row.id == named,
            |row, named| row.aliases.iter().any(|alias| alias == named),
            |row, named| row.provider_model_id == named,
        ];
        for fits in by {
            let mut found: Vec<_> = self.models.values().filter(|row| fits(row, named)).collect();
            // The same id at several providers: those that can be called come first.
            if found.len() > 1 {
                let callable: Vec<_> =
                    found.iter().copied().filter(|row| self.is_callable(&row.provider)).collect();
                if callable.len() == 1 {
                    found = callable;
                }
            }
            match found.as_slice() {
                [] => {}
                [one] => return Ok((*one).clone()),
                many => {
                    let names: Vec<_> = many.iter().map(|row| row.name.as_str()).collect();
                    return Err(Error::field(
                        "target.model",
                        format!(
                            "{named:?} is offered by several providers; name one of {}",
                            names.join(", ")
                        ),
                    ));
                }
            }
        }
        Err(self.no_such_model(named))
    }

    /// The preset of that resource name or id, enabled or not.
    pub fn preset(&self, named: &str) -> Result<Arc<PresetRow>> {
        let id = named.strip_prefix("presets/").unwrap_or(named);
        if let Some(preset) = self.presets.get(id) {
            return Ok(preset.clone());
        }
        let error = Error::not_found("mediary.admin.v1.Preset", format!("presets/{id}"));
        let known: Vec<&str> = self.presets.keys().map(String::as_str).take(20).collect();
        Err(match known.as_slice() {
            [] => error.violation("target.preset", "there are no presets"),
            known => error.violation("target.preset", format!("presets are {}", known.join(", "))),
        })
    }

    /// What who asks for a retired model is told.
    pub fn retired(&self, model: &ModelRow) -> Error {
        let error = Error::not_found("mediary.v1.Model", model.name.as_str());
        let replacement = format!("providers/{}/models/{}", model.provider, model.replacement);
        if self.models.contains_key(&replacement) {
            error
                .violation(
                    "target.model",
                    format!("the model is retired; use {replacement} instead"),
                )
                .fact("replacement", replacement)
        } else {
            error.violation("target.model", "the model is retired")
        }
    }

    /// Whether the provider has an account that can be used.
    pub fn is_callable(&self, provider: &str) -> bool {
        self.providers.get(provider).is_some_and(|entry| entry.usable() > 0)
    }

    fn no_such_model(&self, named: &str) -> Error {
        let (provider, id) = match split_name(named) {
            Some((provider, id)) => (Some(provider), id),
            None => (None, named),
        };
        let near = self
            .models
            .values()
            .filter(|row| provider.is_none_or(|provider| row.provider == provider))
            // Comparing takes the time of both lengths multiplied, and no id is this long.
            .filter(|_| id.len() <= 128)
            .map(|row| (strsim::jaro_winkler(&row.id, id), row))
            .filter(|(score, _)| *score > 0.85)
            .max_by(|(a, _), (b, _)| a.total_cmp(b));
        let error = Error::not_found("mediary.v1.Model", named);
        match near {
            Some((_, row)) => error.fact("didYouMean", row.name.as_str()),
            None => error,
        }
    }
}

/// `providers/{provider}/models/{model}`; the model of an open provider may hold slashes.
fn split_name(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix("providers/")?.split_once("/models/")
}
