//! Routes: the standard five, and assigning a task.

use super::{done, plain, route, stamp};
use crate::{Error, Page, Saved, Shared, Version};

pub async fn a_route_is_made_changed_and_deleted(store: &Shared) {
    let routes = store.routes();
    let mut image = route("image");
    assert_eq!(routes.update(image.clone(), None, plain(1)).await, Ok(Saved::Missing));
    let made = done(routes.create(image.clone(), plain(1)).await);
    image.stamp = stamp(1, 1, 1);
    assert_eq!(made, image);
    let taken = routes.create(image.clone(), plain(2)).await;
    assert_eq!(taken, Err(Error::Exists("routes/image".into())));
    image.json = "{}".into();
    image.origin = "config".into();
    let changed = done(routes.update(image.clone(), Some(Version(1)), plain(2)).await);
    image.stamp = stamp(2, 1, 2);
    assert_eq!(changed, image);
    assert_eq!(routes.get("image").await, Ok(Some(image.clone())));
    assert_eq!(routes.list(Page::first(9)).await.expect("a list").rows, [image]);
    done(routes.delete("image", None, plain(3)).await);
    assert_eq!(routes.get("image").await, Ok(None));
    assert_eq!(routes.delete("image", None, plain(4)).await, Ok(Saved::Missing));
}

pub async fn a_route_can_be_put(store: &Shared) {
    let routes = store.routes();
    assert_eq!(done(routes.put(route("text"), plain(1)).await).stamp, stamp(1, 1, 1));
    assert_eq!(done(routes.put(route("text"), plain(2)).await).stamp, stamp(2, 1, 2));
}

pub async fn a_stale_version_changes_nothing(store: &Shared) {
    let routes = store.routes();
    done(routes.create(route("text"), plain(1)).await);
    let kept = done(routes.put(route("text"), plain(2)).await);
    let stale = routes.update(route("text"), Some(Version(1)), plain(3)).await;
    assert_eq!(stale, Err(Error::EtagMismatch("routes/text".into())));
    let stale = routes.delete("text", Some(Version(1)), plain(3)).await;
    assert_eq!(stale, Err(Error::EtagMismatch("routes/text".into())));
    assert_eq!(routes.get("text").await, Ok(Some(kept)));
}
