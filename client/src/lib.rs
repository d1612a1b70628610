//! The Rust client of Mediary, and the commands of its binary.
//!
//! Owns: the connection, the typed errors, the rules of a text stream and the answer made from it.
//! Leaves: the messages themselves (`mediary_proto`), and everything that happens on the server.
//!
//! ```ignore
//! let client = Client::from_env()?;
//! let question = TextRequest::new(target::model("sandbox-text")).user("Why is the sky blue?");
//!
//! let answer = client.generate(question.clone()).await?;      // in one message
//!
//! let mut stream = client.stream(question).await?;            // or as it is written
//! let mut answer = Answer::default();
//! while let Some(event) = stream.try_next().await? {
//!     answer.add(&event);
//! }
//! println!("{}", answer.text());
//! ```

mod admin;
mod answer;
#[cfg(feature = "cli")]
pub mod cli;
mod client;
mod connect;
mod env;
mod error;
mod pages;
mod profile;
mod request;
mod stream;

pub use answer::Answer;
pub use client::{Client, Raw};
pub use connect::{Bearer, Builder, DEFAULT_URL, Transport};
pub use error::{Error, Facts, Result, Violation};
pub use mediary_proto::{admin as admin_v1, v1};
pub use request::{TextRequest, message, target};
pub use stream::{TextStream, comparison::Comparison};
