//! The Mediary server: one typed gRPC service in front of every generative-AI provider.
//!
//! A request enters by the contract (`service`), is routed (`routing`) among what exists
//! (`registry`), leaves by a provider (`provider`, `providers`, `dialect`, `transport`), and what
//! comes back walks the same way up. `app` assembles the rooms; docs/architecture.md is the plan.

mod access;
pub mod app;
pub mod clock;
pub mod config;
mod dialect;
mod error;
mod http;
mod ledger;
mod listener;
mod provider;
mod providers;
mod registry;
mod routing;
mod service;
pub mod telemetry;
mod transport;
mod vault;
