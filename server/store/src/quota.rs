//! What limits give out, by the stretch of time it is given out in.

/// Asks for a part of what a limit leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Whose limit it is, such as `accounts/a1`.
    pub subject: String,
    /// What is limited, such as `requests-minute`.
    pub meter: String,
    /// The stretch that it is for; later ones have higher numbers.
    pub slot: i64,
    /// The first stretch that counts towards the limit. Earlier ones are forgotten; later ones than
    /// `slot` count as well, so that a clock that is set back gives nothing out twice.
    pub since: i64,
    pub limit: i64,
    /// At most so much.
    pub want: i64,
    /// Stretches, and what was leased for them and not used. Negative: what was used beyond that.
    pub unused: Vec<(i64, i64)>,
}

/// What a limit gave out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leased {
    /// 0 to what was wanted.
    pub granted: i64,
    /// All that counts towards the limit now.
    pub used: i64,
    /// The first stretch that counts; once it has passed there is more. `None` = nothing counts.
    pub first: Option<i64>,
}

/// What was leased and not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unused {
    pub subject: String,
    pub meter: String,
    pub slot: i64,
    pub amount: i64,
}

/// A moment of the time by which limits count: it goes on with the machine, whatever its clock is
/// set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SteadyTime {
    /// Microseconds since 1970, as far as anybody knew.
    pub micros: i64,
    /// Which start of the machine the uptime belongs to.
    pub boot: String,
    pub uptime_micros: i64,
}
