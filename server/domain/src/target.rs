//! Who a caller wants to be served by.

/// What the caller named. Resolution order and reasons are `registry`'s and `routing`'s.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A model by resource name, slug, alias or the provider's own id.
    Model(String),
    /// A preset by resource name.
    Preset(String),
    /// A task by id (`text`, `image`, ...).
    Route(String),
    /// Whatever serves the capability best.
    Auto,
}
