//! Recipes: presets and workflows.

use super::{at, done, plain, preset, stamp, workflow};
use crate::{Saved, Shared, Version};

pub async fn presets_come_before_workflows(store: &Shared) {
    let recipes = store.recipes();
    for row in [workflow("a"), preset("z"), preset("b"), workflow("b")] {
        done(recipes.put(row, plain(1)).await);
    }
    let all = recipes.all().await.expect("a list");
    let names: Vec<String> = all.iter().map(|row| row.key.to_string()).collect();
    assert_eq!(names, ["presets/b", "presets/z", "workflows/a", "workflows/b"]);
    assert_eq!(store.registry().rows().await.expect("rows").recipes, all);
}

pub async fn a_recipe_is_put_and_deleted(store: &Shared) {
    let recipes = store.recipes();
    let mut row = preset("fast");
    assert_eq!(recipes.get(&row.key).await, Ok(None));
    let made = done(recipes.put(row.clone(), plain(1)).await);
    row.stamp = stamp(1, 1, 1);
    assert_eq!(made, row);
    row.origin = "deleted".into();
    row.json = "{}".into();
    let changed = done(recipes.put(row.clone(), plain(2)).await);
    row.stamp = stamp(2, 1, 2);
    assert_eq!(changed, row);
    assert_eq!(recipes.get(&row.key).await, Ok(Some(row.clone())));
    // The same id of another kind is another recipe.
    assert_eq!(recipes.get(&workflow("fast").key).await, Ok(None));
    done(recipes.delete(vec![row.key.clone()], plain(3)).await);
    assert_eq!(recipes.get(&row.key).await, Ok(None));
    assert_eq!(recipes.delete(vec![row.key], plain(4)).await, Ok(Saved::Missing));
    assert_eq!(store.registry().version().await, Ok(Version(3)));
}

pub async fn several_are_deleted_at_once(store: &Shared) {
    let recipes = store.recipes();
    for row in [preset("a"), preset("b"), preset("c"), workflow("a")] {
        done(recipes.put(row, plain(1)).await);
    }
    let gone = vec![preset("a").key, preset("none").key, workflow("a").key];
    let before = store.registry().version().await.expect("a version");
    let change = plain(2).based_on(Version(before.0 - 1));
    let outdated = recipes.delete(gone.clone(), change).await;
    assert_eq!(outdated, Err(crate::Error::Outdated));
    done(recipes.delete(gone, plain(2)).await);
    let all = recipes.all().await.expect("a list");
    let names: Vec<String> = all.iter().map(|row| row.key.to_string()).collect();
    assert_eq!(names, ["presets/b", "presets/c"]);
    assert_eq!(store.registry().version().await, Ok(Version(before.0 + 1)));
    assert_eq!(all[0].stamp.create_time, at(1));
}
