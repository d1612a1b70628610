//! What attempts have taught about the members of presets.

use super::{at, done, plain, preset};
use crate::{Learned, Shared, Version};

fn learned(preset: &str, member: &str, json: &str, seconds: u64) -> Learned {
    Learned {
        preset: preset.into(),
        member: member.into(),
        json: json.into(),
        update_time: at(seconds),
    }
}

pub async fn what_was_learned_comes_back_and_is_no_change(store: &Shared) {
    let learning = store.learning();
    assert_eq!(learning.all().await, Ok(Vec::new()));
    let rows = vec![learned("b", "m", "{}", 1), learned("a", "n", "{}", 1)];
    learning.keep(rows).await.expect("kept");
    let again = vec![learned("a", "m", "{}", 2), learned("a", "n", r#"{"x":1}"#, 2)];
    learning.keep(again.clone()).await.expect("kept");
    learning.keep(Vec::new()).await.expect("nothing to keep");
    let all = [&again[..], &[learned("b", "m", "{}", 1)]].concat();
    assert_eq!(learning.all().await, Ok(all));
    assert_eq!(store.registry().version().await, Ok(Version(0)));
}

pub async fn what_was_learned_goes_with_its_preset(store: &Shared) {
    for id in ["a", "b"] {
        done(store.recipes().put(preset(id), plain(1)).await);
    }
    let rows = vec![learned("a", "m", "{}", 1), learned("b", "m", "{}", 1)];
    store.learning().keep(rows.clone()).await.expect("kept");
    done(store.recipes().delete(vec![preset("a").key], plain(2)).await);
    assert_eq!(store.learning().all().await, Ok(rows[1..].to_vec()));
}
