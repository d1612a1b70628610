//! The contract's front door: one file a service.
//!
//! A method parses at the door, calls one thing, and answers. Proto types stay in this room.

pub mod account;
pub mod api_key;
pub mod audit;
pub mod catalog;
pub mod change;
mod decide;
mod inspect;
pub mod layers;
pub mod listing;
mod mask;
mod measure;
pub mod methods;
pub mod model;
mod names;
pub mod preset;
mod problems;
pub mod route;
pub mod server_info;
pub mod services;
pub mod stall;
pub mod text;
pub mod trail;
pub mod usage;
pub mod workflow;

/// Full names of the RPCs that are served; all others of the contract answer METHOD_DISABLED.
pub fn served() -> Vec<&'static str> {
    [
        server_info::METHODS,
        model::METHODS,
        text::METHODS,
        catalog::METHODS,
        account::METHODS,
        preset::METHODS,
        route::METHODS,
        api_key::METHODS,
        audit::METHODS,
        usage::METHODS,
        workflow::METHODS,
    ]
    .concat()
}
