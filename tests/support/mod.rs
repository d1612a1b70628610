//! What the tests stand on: a real server process, a vendor that replays recorded traffic, and
//! the recordings.
//!
//! Every test starts its own server on a port of its own with an empty environment, and talks to
//! it through real clients. Nothing sleeps to wait for something: it waits for the thing.
#![expect(dead_code, reason = "each test file uses its own part of the harness")]

pub mod admin;
pub mod ask;
pub mod certificates;
pub mod cut;
pub mod endpoints;
pub mod house;
pub mod peer;
pub mod recordings;
pub mod replay;
pub mod saw;
pub mod vendor;
pub mod vendors;
pub mod wire;

pub use self::{
    house::House,
    vendor::{Reply, Vendor},
};
