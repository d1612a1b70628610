//! Figures for Prometheus: every series, what is added to it, and its text form.
//!
//! Names of the `gen_ai_` series are those of the OpenTelemetry semantic conventions v1.41, of
//! `rpc_` v1.44, as Prometheus writes them; `mediary_` are ours. docs/metrics.md lists them all.
//! Labels are bounded: what callers make up (users, jobs, labels, names of models that nobody has
//! described) is none. Each figure is a few atomic additions, made once a call or attempt and never
//! once a token. Each server has a registry of its own.

use std::{sync::Arc, time::Duration};

use mediary_domain::{Error, Kind, UsageSource};
use prometheus::{
    CounterVec, Encoder as _, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder, core::Collector,
};

use super::tally::{Served, Tally};
use crate::{
    error,
    provider::ModelRow,
    registry::Origin,
    routing::{Attempt, CallFacts, CallKind},
};

/// OpenTelemetry's word for what is not listed.
const OTHER: &str = "_OTHER";

/// As opentelemetry-util-genai has them, in seconds.
const DURATIONS: [f64; 14] =
    [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
const FIRST_TOKENS: [f64; 16] =
    [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
const PER_TOKEN: [f64; 13] =
    [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5];
const TOKENS: [f64; 14] = [
    1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0,
    16777216.0, 67108864.0,
];
const RPCS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
const OVERHEADS: [f64; 14] = [
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
];

/// Failures that are the store's.
const STORE_REASONS: [&str; 3] = ["STORE_UNAVAILABLE", "STORAGE_FULL", "STORED_DATA_CORRUPT"];

const OPERATION: &str = "gen_ai_operation_name";
const PROVIDER: &str = "gen_ai_provider_name";
const MODEL: &str = "gen_ai_request_model";
const ERROR: &str = "error_type";

/// A cheap handle to all figures of one server.
#[derive(Clone)]
pub struct Metrics(Arc<Series>);

struct Series {
    registry: Registry,
    client_duration: HistogramVec,
    client_tokens: HistogramVec,
    client_first_chunk: HistogramVec,
    client_per_chunk: HistogramVec,
    server_duration: HistogramVec,
    server_first_token: HistogramVec,
    server_per_token: HistogramVec,
    rpc_duration: HistogramVec,
    attempts: IntCounterVec,
    fallbacks: IntCounterVec,
    cost: CounterVec,
    overhead: HistogramVec,
    stream_open: IntGauge,
    stream_cancelled: IntCounterVec,
    store_errors: IntCounterVec,
}

/// How a call ended, as its caller sees it.
pub struct CallEnd<'a> {
    /// `mediary.v1.TextService/StreamText`; `None` = it is none that is served.
    pub rpc: Option<&'a str>,
    /// Name of its code, as google.rpc.Code writes it.
    pub code: &'static str,
    /// Of its `ErrorInfo`; empty = it has none.
    pub reason: &'a str,
    pub took: Duration,
}

impl Metrics {
    /// # Errors
    /// Two series have the same name.
    pub fn new() -> Result<Self, String> {
        let series = Series::new().map_err(|error| format!("the figures clash: {error}"))?;
        Ok(Self(Arc::new(series)))
    }

    /// Has gauges read when somebody looks: what is true at that moment costs nothing before.
    /// Account state and what is left of limits belong here.
    pub fn read_at_scrape(&self, collector: Box<dyn Collector>) -> Result<(), String> {
        self.0.registry.register(collector).map_err(|error| error.to_string())
    }

    /// Everything, in Prometheus' text format 0.0.4.
    pub fn text(&self) -> String {
        let mut text = Vec::new();
        // Writing to memory does not fail; what was counted stays readable all the same.
        let _ = TextEncoder::new().encode(&self.0.registry.gather(), &mut text);
        String::from_utf8(text).unwrap_or_default()
    }

    /// An attempt has ended.
    pub fn attempt(&self, call: &CallFacts, attempt: &Attempt) {
        let series = &*self.0;
        let model = &*attempt.model;
        let failure = attempt.failure.as_ref().map(Error::kind);
        let reason = failure.map_or("", |kind| error::code_and_reason(kind).1);
        let outcome = match failure {
            None => "ok",
            Some(Kind::Cancelled) => "cancelled",
            Some(_) => "error",
        };
        let account = attempt.account.id.as_str();
        series
            .attempts
            .with_label_values(&[model.provider.as_str(), account, outcome, reason])
            .inc();

        let names = [operation(call.kind), provider_name(&model.provider), model_name(model)];
        let [operation, provider, name] = names;
        series
            .client_duration
            .with_label_values(&[operation, provider, name, reason])
            .observe(attempt.took.as_secs_f64());
        if let Some(usage) = &attempt.usage {
            for (kind, tokens) in [("input", usage.input), ("output", usage.output)] {
                if kind == "input" || call.kind == CallKind::Chat {
                    let labels = [operation, provider, name, kind];
                    series.client_tokens.with_label_values(&labels).observe(tokens as f64);
                }
            }
            let estimated = if usage.source == UsageSource::Estimated { "true" } else { "false" };
            let labels = [model.provider.as_str(), name, account, estimated];
            series.cost.with_label_values(&labels).inc_by(attempt.cost.0.max(0) as f64 / 1e12);
        }
        if let Some(first) = attempt.first_token {
            series.client_first_chunk.with_label_values(&names).observe(first.as_secs_f64());
            let between = attempt.took.saturating_sub(first).as_secs_f64();
            if let Some(gaps) = attempt.chunks.checked_sub(1).filter(|gaps| *gaps > 0) {
                let mean = between / f64::from(gaps);
                series.client_per_chunk.with_label_values(&names).observe(mean);
            }
        }
        call.tally.served(
            attempt.began,
            Served {
                kind: call.kind,
                model: attempt.model.clone(),
                first_token: attempt.first_token.and_then(|first| attempt.began.checked_add(first)),
                end: attempt.began.checked_add(attempt.took).unwrap_or(attempt.began),
                output_tokens: attempt.usage.map_or(0, |usage| usage.output),
                failure,
            },
        );
    }

    /// A call goes on with the next candidate.
    pub fn fallback(&self, from: &ModelRow, to: &ModelRow, why: &Error) {
        let reason = error::code_and_reason(why.kind()).1;
        let labels = [from.provider.as_str(), to.provider.as_str(), reason];
        self.0.fallbacks.with_label_values(&labels).inc();
    }

    /// A call has ended; how long it took beside what providers took.
    pub fn call(&self, end: &CallEnd<'_>, tally: &Tally) -> Option<Duration> {
        let series = &*self.0;
        let rpc = end.rpc.unwrap_or(OTHER);
        series.rpc_duration.with_label_values(&[rpc, end.code]).observe(end.took.as_secs_f64());
        if STORE_REASONS.contains(&end.reason) {
            series.store_errors.with_label_values(&[end.reason]).inc();
        }
        let overhead = end.took.saturating_sub(tally.upstream()?);
        series.overhead.with_label_values(&[rpc]).observe(overhead.as_secs_f64());
        Some(overhead)
    }

    /// The same call as one that a model has served. `begin_to_first` is from its begin to the
    /// first token.
    pub fn served(&self, end: &CallEnd<'_>, served: &Served, begin_to_first: Option<Duration>) {
        let series = &*self.0;
        let model = &*served.model;
        let names = [operation(served.kind), provider_name(&model.provider), model_name(model)];
        let [operation, provider, name] = names;
        let reason = if end.code == "OK" { "" } else { end.reason };
        series
            .server_duration
            .with_label_values(&[operation, provider, name, reason])
            .observe(end.took.as_secs_f64());
        if let (Some(wait), Some(first)) = (begin_to_first, served.first_token) {
            series.server_first_token.with_label_values(&names).observe(wait.as_secs_f64());
            let rest = served.end.saturating_duration_since(first).as_secs_f64();
            if served.output_tokens > 1 && served.failure.is_none() {
                let each = rest / (served.output_tokens - 1) as f64;
                series.server_per_token.with_label_values(&names).observe(each);
            }
        }
    }

    pub fn stream_opened(&self) {
        self.0.stream_open.inc();
    }

    /// A stream is over; `by` = who ended it before its answer was whole.
    pub fn stream_closed(&self, by: Option<&'static str>) {
        self.0.stream_open.dec();
        if let Some(by) = by {
            self.0.stream_cancelled.with_label_values(&[by]).inc();
        }
    }
}

impl Series {
    fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let histogram = |name: &str, help: &str, labels: &[&str], buckets: &[f64]| {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            let one = HistogramVec::new(options, labels)?;
            registry.register(Box::new(one.clone()))?;
            Ok::<_, prometheus::Error>(one)
        };
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let one = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(one.clone()))?;
            Ok::<_, prometheus::Error>(one)
        };
        let names = [OPERATION, PROVIDER, MODEL];
        let failing = [OPERATION, PROVIDER, MODEL, ERROR];
        let cost = CounterVec::new(
            Opts::new("mediary_cost_usd_total", "What attempts cost, in USD."),
            &["provider", "model", "account", "estimated"],
        )?;
        registry.register(Box::new(cost.clone()))?;
        let stream_open = IntGauge::new("mediary_stream_open", "Streams that are open.")?;
        registry.register(Box::new(stream_open.clone()))?;
        let build = IntGaugeVec::new(
            Opts::new("mediary_build_info", "Always 1; its labels tell which build it is."),
            &["version"],
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        registry.register(Box::new(build))?;
        let series = Self {
            client_duration: histogram(
                "gen_ai_client_operation_duration_seconds",
                "Time of one attempt at a provider.",
                &failing,
                &DURATIONS,
            )?,
            client_tokens: histogram(
                "gen_ai_client_token_usage",
                "Tokens of one attempt at a provider.",
                &[OPERATION, PROVIDER, MODEL, "gen_ai_token_type"],
                &TOKENS,
            )?,
            client_first_chunk: histogram(
                "gen_ai_client_operation_time_to_first_chunk_seconds",
                "From asking a provider to the first piece of its answer.",
                &names,
                &FIRST_TOKENS,
            )?,
            client_per_chunk: histogram(
                "gen_ai_client_operation_time_per_output_chunk_seconds",
                "Mean time between two pieces of an attempt's answer.",
                &names,
                &PER_TOKEN,
            )?,
            server_duration: histogram(
                "gen_ai_server_request_duration_seconds",
                "Time of a call that asked a model, as its caller sees it.",
                &failing,
                &DURATIONS,
            )?,
            server_first_token: histogram(
                "gen_ai_server_time_to_first_token_seconds",
                "From the begin of a call to the first piece of its answer.",
                &names,
                &FIRST_TOKENS,
            )?,
            server_per_token: histogram(
                "gen_ai_server_time_per_output_token_seconds",
                "Mean time of a token of an answer after its first.",
                &names,
                &PER_TOKEN,
            )?,
            rpc_duration: histogram(
                "rpc_server_call_duration_seconds",
                "Time of a call, streams to their end.",
                &["rpc_method", "rpc_response_status_code"],
                &RPCS,
            )?,
            attempts: counter(
                "mediary_attempts_total",
                "Attempts at providers.",
                &["provider", "account", "outcome", "reason"],
            )?,
            fallbacks: counter(
                "mediary_fallbacks_total",
                "Calls that went on with the next candidate, by provider.",
                &["from", "to", "reason"],
            )?,
            overhead: histogram(
                "mediary_overhead_seconds",
                "Time of a call beside that in which providers were at work.",
                &["rpc_method"],
                &OVERHEADS,
            )?,
            stream_cancelled: counter(
                "mediary_stream_cancelled_total",
                "Streams that were ended before their answer was whole.",
                &["by"],
            )?,
            store_errors: counter(
                "mediary_store_errors_total",
                "Calls that failed because of the store.",
                &["reason"],
            )?,
            cost,
            stream_open,
            registry,
        };
        // These are there from the start, so that a first one is seen as a change.
        for by in ["client", "deadline", "key", "shutdown", "stall", "stop"] {
            series.stream_cancelled.with_label_values(&[by]);
        }
        for reason in STORE_REASONS {
            series.store_errors.with_label_values(&[reason]);
        }
        Ok(series)
    }
}

fn operation(kind: CallKind) -> &'static str {
    match kind {
        CallKind::Chat => "chat",
        CallKind::Embeddings => "embeddings",
    }
}

/// The convention's name of a provider; those that it does not list keep ours.
fn provider_name(id: &str) -> &str {
    match id {
        "gemini" => "gcp.gemini",
        "azure" => "azure.ai.openai",
        "azure-inference" => "azure.ai.inference",
        "mistral" => "mistral_ai",
        "xai" => "x_ai",
        "moonshot" => "moonshot_ai",
        other => other,
    }
}

/// Names that callers make up are no labels: there is no end to them.
fn model_name(model: &ModelRow) -> &str {
    let is_known = model.described || model.origin == Origin::Discovered;
    if is_known { &model.provider_model_id } else { OTHER }
}
