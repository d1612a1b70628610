//! Logs: one line an event, readable alone and with fields; JSON unless a person watches.
//! Never keys, prompts or bodies.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{EnvFilter, fmt::format::FmtSpan};

use crate::config::{LogFormat, LogSection};

/// Starts logging to standard output. A second call does nothing.
pub fn start(log: &LogSection) -> Result<(), String> {
    let filter = EnvFilter::try_new(&log.level)
        .map_err(|error| format!("log.level {:?} is not a filter: {error}", log.level))?;
    let is_pretty = match log.format {
        LogFormat::Pretty => true,
        LogFormat::Json => false,
        LogFormat::Auto => io::stdout().is_terminal(),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_span_events(FmtSpan::NONE);
    let _ = if is_pretty {
        builder.try_init()
    } else {
        builder.json().flatten_event(true).with_current_span(false).try_init()
    };
    Ok(())
}
