//! How Google says no: `google.rpc.Status` as JSON, with details that say more than the code.

use std::time::Duration;

use http::StatusCode;
use mediary_domain::Error;
use serde_json::Value;

use crate::{
    dialect::{
        exchange::Refusal,
        failure::{Class, Words, garbled, no_answer, refused},
    },
    provider::CallContext,
};

/// A refusal by status. Google asks for waits in the body and sends no header.
pub fn of_reply(cx: &CallContext, refusal: &Refusal) -> Error {
    told(cx, Some(refusal.status), &refusal.body, refusal.retry_after)
}

/// A refusal inside an answer, under status 200.
pub fn of_event(cx: &CallContext, json: &[u8]) -> Error {
    told(cx, None, json, None)
}

/// JSON under status 200 that has not what was asked for: a refusal in its place, or nothing.
pub fn not_it(cx: &CallContext, json: &[u8]) -> Error {
    match serde_json::from_slice::<Value>(json) {
        Ok(other) if !other["error"].is_null() => of_event(cx, json),
        Ok(_) => no_answer(cx),
        Err(error) => garbled(cx, &error),
    }
}

fn told(
    cx: &CallContext,
    status: Option<StatusCode>,
    body: &[u8],
    retry_after: Option<Duration>,
) -> Error {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    // A stream that was not asked for as SSE is a list, and so is its refusal.
    let error = &json.get(0).unwrap_or(&json)["error"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let said = Said {
        message: error.as_str().unwrap_or_else(|| error["message"].as_str().unwrap_or_default()),
        status: error["status"].as_str().unwrap_or_default(),
        details: error["details"].as_array().map_or(&[], Vec::as_slice),
    };
    let code = error["code"].as_u64().map(|code| code.to_string()).unwrap_or_default();
    let told = status.or_else(|| StatusCode::from_bytes(code.as_bytes()).ok());
    let words = Words {
        message: said.message.to_owned(),
        kind: said.status.to_owned(),
        param: text(&said.detail("BadRequest")["fieldViolations"][0]["field"]),
        code,
    };
    let wait = said.wait().or(retry_after);
    refused(cx, said.class(told), status, words, wait)
}

struct Said<'a> {
    message: &'a str,
    status: &'a str,
    details: &'a [Value],
}

impl<'a> Said<'a> {
    /// The detail of a type of google.rpc.
    fn detail(&self, name: &str) -> &'a Value {
        let is_it = |detail: &&Value| {
            detail["@type"].as_str().is_some_and(|kind| kind.rsplit('.').next() == Some(name))
        };
        self.details.iter().find(is_it).unwrap_or(&Value::Null)
    }

    /// `RetryInfo`: seconds with a fraction and an `s`.
    fn wait(&self) -> Option<Duration> {
        let seconds = self.detail("RetryInfo")["retryDelay"].as_str()?.strip_suffix('s')?;
        Duration::try_from_secs_f64(seconds.parse().ok()?).ok()
    }

    fn class(&self, status: Option<StatusCode>) -> Class {
        let message = self.message.to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
        match self.detail("ErrorInfo")["reason"].as_str().unwrap_or_default() {
            reason if reason.starts_with("API_KEY_") => return Class::Authentication,
            "ACCESS_TOKEN_EXPIRED" | "CREDENTIALS_MISSING" => return Class::Authentication,
            "BILLING_DISABLED" => return Class::QuotaExhausted,
            "SERVICE_DISABLED" | "CONSUMER_INVALID" | "CONSUMER_SUSPENDED" => {
                return Class::Permission;
            }
            _ => {}
        }
        let by_status = status.map_or(Class::ServerError, Class::of_status);
        match self.status {
            "INVALID_ARGUMENT" if says(&["maximum number of tokens", "input token count"]) => {
                Class::ContextLength
            }
            "INVALID_ARGUMENT" if says(&["api key not valid", "api key expired"]) => {
                Class::Authentication
            }
            "INVALID_ARGUMENT" | "OUT_OF_RANGE" => Class::InvalidRequest,
            "UNAUTHENTICATED" => Class::Authentication,
            // Where the account is, or that it does not pay, is nothing that a caller can mend.
            "PERMISSION_DENIED" | "FAILED_PRECONDITION" => Class::Permission,
            "NOT_FOUND" => Class::NotFound,
            "RESOURCE_EXHAUSTED" if self.is_spent() || says(&["prepay", "spending cap"]) => {
                Class::QuotaExhausted
            }
            "RESOURCE_EXHAUSTED" => Class::RateLimited,
            "CANCELLED" => Class::Cancelled,
            "DEADLINE_EXCEEDED" => Class::Timeout,
            "UNAVAILABLE" | "ABORTED" => Class::Overloaded,
            "UNIMPLEMENTED" => Class::Unsupported,
            "INTERNAL" | "UNKNOWN" | "DATA_LOSS" => Class::ServerError,
            _ => by_status,
        }
    }

    /// A quota for the day, or one of nothing, is not worth a wait.
    fn is_spent(&self) -> bool {
        let violations = self.detail("QuotaFailure")["violations"].as_array();
        violations.into_iter().flatten().any(|one| {
            one["quotaId"].as_str().is_some_and(|id| id.contains("PerDay"))
                || one["quotaValue"].as_str() == Some("0")
        })
    }
}
