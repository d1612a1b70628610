//! Tools and their calls in OpenAI's form, which other vendors have taken over.

use std::borrow::Cow;

use mediary_domain::{Result, Tool};
use serde::Serialize;
use serde_json::value::RawValue;

use super::said::raw;

#[derive(Serialize)]
pub struct WireTool<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    function: Declaration<'a>,
}

#[derive(Serialize)]
struct Declaration<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    strict: bool,
}

impl<'a> WireTool<'a> {
    pub fn of(tool: &'a Tool) -> Result<Self> {
        let function = Declaration {
            name: &tool.tool_name,
            description: &tool.description,
            parameters: raw(&tool.parameters_schema_json)?,
            strict: tool.strict,
        };
        Ok(Self { kind: "function", function })
    }

    /// For wires that say once for all tools whether their schemas bind.
    pub fn without_strict(mut self) -> Self {
        self.function.strict = false;
        self
    }
}

#[derive(Serialize)]
pub struct WireToolCall<'a> {
    id: Cow<'a, str>,
    #[serde(rename = "type")]
    kind: &'static str,
    function: Call<'a>,
}

#[derive(Serialize)]
struct Call<'a> {
    name: &'a str,
    arguments: &'a str,
}

impl<'a> WireToolCall<'a> {
    pub fn new(id: Cow<'a, str>, name: &'a str, arguments: &'a str) -> Self {
        Self { id, kind: "function", function: Call { name, arguments } }
    }
}
