//! Where a row comes from.

/// Weaker ones lie below stronger ones; see `base` for the order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// Built in, or from the files of the configuration.
    #[default]
    Config,
    /// Built in, where that is told apart.
    BuiltIn,
    /// From variables.
    Environment,
    /// From a provider's own list.
    Discovered,
    /// Made or changed while the server runs.
    Manual,
}

impl Origin {
    /// As the contract and the store name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::BuiltIn => "built-in",
            Self::Environment => "environment",
            Self::Discovered => "discovered",
            Self::Manual => "manual",
        }
    }

    /// What the store does not name otherwise was made by hand.
    pub fn of_stored(text: &str) -> Self {
        match text {
            "discovered" => Self::Discovered,
            _ => Self::Manual,
        }
    }
}

impl Origin {
    /// What a stored account lies over; by itself it was made by hand.
    pub fn of_account(text: &str) -> Self {
        match text {
            "config" => Self::Config,
            "environment" => Self::Environment,
            _ => Self::Manual,
        }
    }
}
