//! Vectors of words: each word of a text points its own way, and the sum is the text's direction.
//! Texts that share words lie near each other, which is all that a test of a search needs.

use mediary_domain::{EmbedOptions, Embedded, TokenUsage};

use super::{
    WORD,
    words::{Hash, Words, tokens},
};
use crate::provider::CallContext;

/// Length of a vector where neither the caller nor the row names one.
const LENGTH: u32 = 256;

pub(super) fn embed(cx: &CallContext, texts: &[String], options: &EmbedOptions) -> Embedded {
    let length = options.dimensions.or(cx.model.dimensions).unwrap_or(LENGTH);
    let counted = texts.iter().map(|text| tokens(text, WORD).count()).sum::<usize>();
    Embedded {
        vectors: texts.iter().map(|text| vector(text, length as usize)).collect(),
        model: cx.model.provider_model_id.clone(),
        usage: Some(TokenUsage {
            input: i64::try_from(counted).unwrap_or(i64::MAX),
            ..TokenUsage::default()
        }),
    }
}

/// Of length 1.
fn vector(text: &str, length: usize) -> Vec<f32> {
    let mut sum = vec![0.0_f64; length];
    for word in tokens(text, WORD) {
        let word = word.trim().to_lowercase();
        let mut hash = Hash::default();
        hash.add(word.as_bytes());
        let mut way = Words::new(hash.value(), "embed");
        sum.iter_mut().for_each(|number| *number += way.unit() - 0.5);
    }
    let size = sum.iter().map(|number| number * number).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    sum.into_iter().map(|number| (number / size) as f32).collect()
}
