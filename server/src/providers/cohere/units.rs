//! Cohere's counts, which are floats in some answers.

use serde::Deserialize;

#[derive(Clone, Copy, Deserialize)]
pub struct Units {
    #[serde(default)]
    input_tokens: Option<f64>,
    #[serde(default)]
    output_tokens: Option<f64>,
    #[serde(default)]
    reasoning_tokens: Option<f64>,
}

impl Units {
    pub fn input(&self) -> Option<i64> {
        whole(self.input_tokens)
    }

    pub fn output(&self) -> Option<i64> {
        whole(self.output_tokens)
    }

    pub fn reasoning(&self) -> Option<i64> {
        whole(self.reasoning_tokens)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "counts are far below 2^53")]
pub fn whole(count: Option<f64>) -> Option<i64> {
    count.map(|count| count as i64)
}
