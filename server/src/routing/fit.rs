//! Fits a call to the model that would serve it: what the model cannot honour is refused, or left
//! out with a warning, before anything is paid.

use std::sync::Arc;

use mediary_domain::{
    ChatCall, Error, Kind, MediaKind, Parameter, Part, Result, UnsupportedPolicy, Warning,
};

use crate::{
    provider::{ModelRow, ProviderRow},
    registry::Lifecycle,
};

/// The call as `model` takes it, and what was changed.
pub fn fit(
    provider: &ProviderRow,
    model: &ModelRow,
    call: &Arc<ChatCall>,
) -> Result<(Arc<ChatCall>, Vec<Warning>)> {
    let refused = refused(provider, model, call);
    let mut warnings = deprecation(model);
    let foreign = foreign_reasoning(provider, call);
    if refused.is_empty() && !foreign {
        return Ok((call.clone(), warnings));
    }
    let is_fixed = |one: &Parameter| *one == Parameter::Images;
    let rejects = call.parameters.unsupported == UnsupportedPolicy::Reject;
    if !refused.is_empty() && (rejects || refused.iter().any(is_fixed)) {
        return Err(refusal(model, &refused));
    }
    let mut fitted = ChatCall::clone(call);
    for parameter in refused {
        fitted.parameters.forget(parameter);
        warnings.push(Warning {
            code: "parameter-dropped",
            field: parameter.field().to_owned(),
            detail: format!("{} does not take it; it was left out", model.name),
        });
    }
    if foreign {
        for message in &mut fitted.messages {
            message.parts.retain(|part| !is_foreign(provider, part));
        }
        warnings.push(Warning {
            code: "reasoning-dropped",
            field: "messages".to_owned(),
            detail: format!(
                "reasoning of another provider was left out: only the one that wrote it can use it, \
                 and this turn goes to {}",
                provider.id
            ),
        });
    }
    Ok((Arc::new(fitted), warnings))
}

fn refused(provider: &ProviderRow, model: &ModelRow, call: &ChatCall) -> Vec<Parameter> {
    let mut used = call.parameters.used();
    if has_images(call) {
        used.push(Parameter::Images);
    }
    let no = provider.refused(&model.dialect);
    let lacks = |parameter: Parameter| {
        model.described
            && match parameter {
                Parameter::Tools | Parameter::ToolChoice => !model.has("tools"),
                Parameter::JsonSchema => !model.has("json-schema"),
                Parameter::Reasoning => !model.has("reasoning"),
                Parameter::Images => !model.input_kinds.contains(&MediaKind::Image),
                _ => false,
            }
    };
    used.retain(|one| no.contains(one) || model.refuses.contains(one) || lacks(*one));
    used
}

fn has_images(call: &ChatCall) -> bool {
    fn any(parts: &[Part]) -> bool {
        parts.iter().any(|part| match part {
            Part::Image(_) => true,
            Part::ToolResult(result) => any(&result.parts),
            _ => false,
        })
    }
    call.messages.iter().any(|message| any(&message.parts))
}

fn refusal(model: &ModelRow, refused: &[Parameter]) -> Error {
    let error = Error::new(
        Kind::UnsupportedParameter,
        format!("{} does not take everything that was asked for", model.name),
    )
    .fact("model", model.name.as_str());
    refused.iter().fold(error, |error, parameter| {
        error.violation(
            parameter.field(),
            "the model does not take it: leave it out, choose another model, or set \
             unsupported_parameter_policy to DROP",
        )
    })
}

fn foreign_reasoning(provider: &ProviderRow, call: &ChatCall) -> bool {
    call.messages.iter().flat_map(|message| &message.parts).any(|part| is_foreign(provider, part))
}

fn is_foreign(provider: &ProviderRow, part: &Part) -> bool {
    matches!(part, Part::Reasoning(reasoning)
        if !reasoning.provider.is_empty() && reasoning.provider != provider.id)
}

fn deprecation(model: &ModelRow) -> Vec<Warning> {
    if model.lifecycle != Lifecycle::Deprecated {
        return Vec::new();
    }
    let instead = match model.replacement.as_str() {
        "" => String::new(),
        id => format!("; use providers/{}/models/{id} instead", model.provider),
    };
    vec![Warning {
        code: "model-deprecated",
        field: "target.model".to_owned(),
        detail: format!("{} will not be served for long{instead}", model.name),
    }]
}
