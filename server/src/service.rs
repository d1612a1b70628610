//! The contract's front door: one file a service.
//!
//! A method parses at the door, calls one thing, and answers. Proto types stay in this room.

pub mod layers;
pub mod listing;
pub mod methods;
pub mod model;
pub mod server_info;
pub mod services;
pub mod stall;
pub mod text;

/// Full names of the RPCs that are served; all others of the contract answer METHOD_DISABLED.
pub fn served() -> Vec<&'static str> {
    [server_info::METHODS, model::METHODS, text::METHODS].concat()
}
