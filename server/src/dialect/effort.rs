//! How much thinking a word asks for, at vendors that count it in tokens.

/// The budget that a word of effort stands for; `None` where the word is not known. The numbers
/// are those of Google's own reading of OpenAI's words (ai.google.dev/gemini-api/docs/openai).
pub fn budget(word: &str) -> Option<i64> {
    Some(match word {
        "none" => 0,
        "minimal" | "low" => 1_024,
        "medium" => 8_192,
        "high" | "xhigh" | "max" => 24_576,
        _ => return None,
    })
}
