//! Parameters that a route keeps, back in the words of the contract.

use mediary_domain::{
    ReasoningOptions, ResponseFormat, TextParameters, Tool, ToolChoice, UnsupportedPolicy,
};
use mediary_proto::v1::{self, UnsupportedParameterPolicy, response_format::Format, tool_choice};

pub fn view(kept: &TextParameters) -> v1::TextParameters {
    let TextParameters { reasoning, response_format, tool_choice, .. } = kept;
    v1::TextParameters {
        max_output_tokens: kept.max_output_tokens,
        temperature: kept.temperature,
        top_p: kept.top_p,
        top_k: kept.top_k,
        seed: kept.seed,
        frequency_penalty: kept.frequency_penalty,
        presence_penalty: kept.presence_penalty,
        stop: kept.stop.clone(),
        reasoning: reasoning.as_ref().map(reasoning_options),
        response_format: format(response_format)
            .map(|format| v1::ResponseFormat { format: Some(format) }),
        tools: kept.tools.iter().map(tool).collect(),
        tool_choice: choice(tool_choice).map(|choice| v1::ToolChoice { choice: Some(choice) }),
        parallel_tool_calls: kept.parallel_tool_calls,
        unsupported_parameter_policy: match kept.unsupported {
            UnsupportedPolicy::Reject => UnsupportedParameterPolicy::Unspecified,
            UnsupportedPolicy::Drop => UnsupportedParameterPolicy::Drop,
        }
        .into(),
        provider_options_json: kept.provider_options.iter().cloned().collect(),
    }
}

fn reasoning_options(kept: &ReasoningOptions) -> v1::ReasoningOptions {
    v1::ReasoningOptions {
        effort: kept.effort.clone().unwrap_or_default(),
        budget_tokens: kept.budget_tokens,
        include: kept.include,
    }
}

fn format(kept: &ResponseFormat) -> Option<Format> {
    match kept {
        ResponseFormat::Text => None,
        ResponseFormat::Json => Some(Format::Json(v1::JsonFormat {})),
        ResponseFormat::JsonSchema { name, schema_json, strict } => {
            Some(Format::JsonSchema(v1::JsonSchemaFormat {
                name: name.clone(),
                schema_json: schema_json.clone(),
                strict: *strict,
            }))
        }
    }
}

fn tool(kept: &Tool) -> v1::Tool {
    v1::Tool {
        tool_name: kept.tool_name.clone(),
        description: kept.description.clone(),
        parameters_schema_json: kept.parameters_schema_json.clone(),
        strict: kept.strict,
    }
}

fn choice(kept: &ToolChoice) -> Option<tool_choice::Choice> {
    match kept {
        ToolChoice::Auto => None,
        ToolChoice::None => Some(tool_choice::Choice::None(v1::NoneChoice {})),
        ToolChoice::Required => Some(tool_choice::Choice::Required(v1::RequiredChoice {})),
        ToolChoice::Tool(name) => Some(tool_choice::Choice::ToolName(name.clone())),
    }
}
