//! Who a caller wants to be served by.

/// What the caller named. Resolution order and reasons are `registry`'s and `routing`'s.
#[derive(Clone, Debug, PartialEq, Eq)]
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
