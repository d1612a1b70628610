//! What an entry of the price map changes here.

use mediary_proto::v1::{self, ModelOrigin, price::Rate};
use prost_types::Timestamp;

use super::entry::{Entry, Mode};

/// Where every price of an import says that it comes from. It is how a later import knows its own.
const SOURCE: &str = "LiteLLM price map";
/// Bytes of a source that are kept of an entry.
const LONGEST_SOURCE: usize = 500;

/// How prices are taken over.
pub(super) struct Terms {
    /// From when they hold; `None` = always.
    pub(super) from: Option<Timestamp>,
    /// Also over what others wrote.
    pub(super) overwrite: bool,
}

pub(super) enum Change {
    New(Box<v1::Model>),
    /// With the fields that are set.
    Fields(Box<v1::Model>, Vec<&'static str>),
    None,
    /// Something is said, and what is there counts more.
    Kept(&'static str),
    NotSupported(String),
}

pub(super) fn of_new(entry: &Entry, terms: &Terms) -> Change {
    if entry.mode == Mode::Responses {
        let why = "is asked with the Responses API, which a new row cannot say";
        return Change::NotSupported(why.to_owned());
    }
    let end = match entry.end.len() {
        10 => format!("{}T00:00:00Z", entry.end).parse::<Timestamp>().ok(),
        _ => None,
    };
    if let (Some(end), Some(from)) = (&end, &terms.from)
        && end.seconds <= from.seconds
    {
        return Change::NotSupported(format!("its provider has ended it on {}", entry.end));
    }
    let capabilities: &[&str] = match entry.mode {
        Mode::Embedding => &["text-embedding"],
        _ if entry.has("vision") => &["text-to-text", "image-to-text"],
        _ => &["text-to-text"],
    };
    let says = entry.features.iter().filter(|(_, has)| *has).map(|(feature, _)| *feature);
    let streaming = (entry.mode != Mode::Embedding).then_some("streaming");
    Change::New(Box::new(v1::Model {
        provider_model_id: entry.id.clone(),
        capabilities: owned(capabilities.iter().copied()),
        features: owned(streaming.into_iter().chain(says)),
        context_tokens: entry.context_tokens,
        max_output_tokens: entry.max_output_tokens,
        prices: laid_over(&[], entry, terms),
        ..Default::default()
    }))
}

/// What a row says of itself stays, except prices of an import before.
pub(super) fn of_known(entry: &Entry, known: &v1::Model, terms: &Terms) -> Change {
    let is_import = known.prices.iter().all(|price| price.source.starts_with(SOURCE));
    let mut model =
        v1::Model { name: known.name.clone(), etag: known.etag.clone(), ..Default::default() };
    let mut mask = Vec::new();
    let prices = laid_over(&known.prices, entry, terms);
    let differs = prices != known.prices;
    if differs && (is_import || terms.overwrite) {
        model.prices = prices;
        mask.push("prices");
    }
    let number = |ours: Option<i64>, theirs: Option<i64>| {
        theirs.filter(|_| ours != theirs && (ours.is_none() || terms.overwrite))
    };
    if let Some(tokens) = number(known.context_tokens, entry.context_tokens) {
        model.context_tokens = Some(tokens);
        mask.push("context_tokens");
    }
    if let Some(tokens) = number(known.max_output_tokens, entry.max_output_tokens) {
        model.max_output_tokens = Some(tokens);
        mask.push("max_output_tokens");
    }
    // A provider's own list seldom tells them; a row that somebody wrote does.
    let is_bare = known.origin() == ModelOrigin::Discovered;
    let features = features(&known.features, entry, terms.overwrite);
    if (is_bare || terms.overwrite) && features != known.features {
        model.features = features;
        mask.push("features");
    }
    match (mask.is_empty(), differs) {
        (false, _) => Change::Fields(Box::new(model), mask),
        (true, true) => Change::Kept("the row has prices of its own; --overwrite adds these"),
        (true, false) => Change::None,
    }
}

/// The prices with those of the entry among them. What held before stays, for what was paid then.
fn laid_over(known: &[v1::Price], entry: &Entry, terms: &Terms) -> Vec<v1::Price> {
    let mut prices = known.to_vec();
    for (unit, pico) in &entry.prices {
        let rate = Some(Rate::MicroUsdPerMillion(*pico));
        let begun = |price: &&v1::Price| match (&price.effective_time, &terms.from) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(one), Some(from)) => (one.seconds, one.nanos) <= (from.seconds, from.nanos),
        };
        let of_unit = known.iter().filter(|price| price.unit == *unit);
        let holds = of_unit.filter(begun).max_by_key(|price| {
            price.effective_time.as_ref().map(|from| (from.seconds, from.nanos))
        });
        if holds.is_some_and(|price| price.rate == rate) {
            continue;
        }
        prices.retain(|price| price.unit != *unit || price.effective_time != terms.from);
        prices.push(v1::Price {
            unit: (*unit).to_owned(),
            rate,
            effective_time: terms.from,
            source: source(entry),
        });
    }
    prices
}

fn source(entry: &Entry) -> String {
    let told: String = entry.source.chars().filter(|c| !c.is_control()).collect();
    let told = &told[..told.floor_char_boundary(LONGEST_SOURCE)];
    if told.is_empty() { SOURCE.to_owned() } else { format!("{SOURCE}, after {told}") }
}

/// The features of a row with what the entry says; what it takes away only where it may.
fn features(known: &[String], entry: &Entry, overwrite: bool) -> Vec<String> {
    let is_taken = |feature: &String| overwrite && entry.features.contains(&(feature, false));
    let mut features: Vec<String> = known.iter().filter(|one| !is_taken(one)).cloned().collect();
    for (feature, _) in entry.features.iter().filter(|(_, has)| *has) {
        if !features.iter().any(|known| known == feature) {
            features.push((*feature).to_owned());
        }
    }
    features
}

fn owned<'a>(words: impl Iterator<Item = &'a str>) -> Vec<String> {
    words.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(input: i64) -> Entry {
        Entry {
            provider: "openai".to_owned(),
            id: "m".to_owned(),
            mode: Mode::Chat,
            prices: vec![("input-token", input)],
            context_tokens: Some(8_000),
            max_output_tokens: None,
            features: vec![("tools", true), ("vision", false)],
            source: String::new(),
            end: String::new(),
            remarks: Vec::new(),
        }
    }

    fn on(day: i64) -> Terms {
        Terms { from: Some(Timestamp { seconds: day * 86_400, nanos: 0 }), overwrite: false }
    }

    fn changed(change: Change) -> (v1::Model, Vec<&'static str>) {
        match change {
            Change::New(model) => (*model, Vec::new()),
            Change::Fields(model, mask) => (*model, mask),
            Change::None | Change::Kept(_) | Change::NotSupported(_) => panic!("nothing changes"),
        }
    }

    #[test]
    fn a_price_that_changes_follows_the_one_that_held_before() {
        let (first, _) = changed(of_new(&entry(5), &on(10)));
        assert_eq!(first.features, ["streaming", "tools"]);
        assert!(matches!(of_known(&entry(5), &first, &on(11)), Change::None));
        let (second, mask) = changed(of_known(&entry(7), &first, &on(12)));
        assert_eq!(mask, ["prices"]);
        let rates: Vec<_> = second.prices.iter().map(|price| price.rate).collect();
        assert_eq!(rates, [5, 7].map(|pico| Some(Rate::MicroUsdPerMillion(pico))));
        let known = v1::Model { prices: second.prices, context_tokens: Some(1), ..first };
        // Once more on the same day: what was told first was wrong.
        let (third, _) = changed(of_known(&entry(8), &known, &on(12)));
        assert_eq!(third.prices.len(), 2);
        assert_eq!(third.prices[1].rate, Some(Rate::MicroUsdPerMillion(8)));
    }

    #[test]
    fn what_a_row_says_of_itself_stays_unless_it_is_to_be_overwritten() {
        let price = v1::Price {
            unit: "input-token".to_owned(),
            rate: Some(Rate::MicroUsdPerMillion(3)),
            ..Default::default()
        };
        let known = v1::Model {
            prices: vec![price],
            context_tokens: Some(4_000),
            features: vec!["vision".to_owned(), "seed".to_owned()],
            origin: ModelOrigin::Config.into(),
            ..Default::default()
        };
        assert!(matches!(of_known(&entry(5), &known, &on(10)), Change::Kept(_)));
        let silent = v1::Model { context_tokens: None, ..known.clone() };
        let (filled, mask) = changed(of_known(&entry(5), &silent, &on(10)));
        assert_eq!((filled.context_tokens, mask), (Some(8_000), vec!["context_tokens"]));
        let (whole, mask) =
            changed(of_known(&entry(5), &known, &Terms { overwrite: true, ..on(10) }));
        assert_eq!(mask, ["prices", "context_tokens", "features"]);
        assert_eq!(whole.features, ["seed", "tools"]);
        assert_eq!(whole.prices.len(), 2);
    }

    #[test]
    fn what_has_ended_and_what_a_new_row_cannot_say_is_not_added() {
        let ended = Entry { end: "1970-01-05".to_owned(), ..entry(5) };
        assert!(matches!(of_new(&ended, &on(10)), Change::NotSupported(_)));
        assert!(matches!(of_new(&ended, &on(1)), Change::New(_)));
        let responses = Entry { mode: Mode::Responses, ..entry(5) };
        assert!(matches!(of_new(&responses, &on(10)), Change::NotSupported(_)));
    }
}
