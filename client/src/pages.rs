//! Turns a list in pages into a stream of items.

use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};

use crate::{Error, Result};

/// Every item from `first` on, page after page; a page is fetched when its first item is wanted.
pub(crate) fn items<T, F, Page>(first: String, mut fetch: F) -> impl Stream<Item = Result<T>>
where
    F: FnMut(String) -> Page,
    Page: Future<Output = Result<(Vec<T>, String)>>,
{
    stream::try_unfold(Some(first), move |token| {
        let page = token.map(|token| (token.clone(), fetch(token)));
        async move {
            let Some((token, page)) = page else { return Ok(None) };
            let (items, next) = page.await?;
            // Such a server would be asked for ever.
            if !next.is_empty() && next == token {
                return Err(Error::protocol("the next page has the token of this one"));
            }
            let next = (!next.is_empty()).then_some(next);
            Ok(Some((stream::iter(items).map(Ok), next)))
        }
    })
    .try_flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn short_and_empty_pages_are_not_the_end() {
        let pages = |token: String| async move {
            Ok(match token.as_str() {
                "" => (vec![1, 2], "b".to_owned()),
                "b" => (vec![], "c".to_owned()),
                _ => (vec![3], String::new()),
            })
        };
        let all: Vec<i32> = items(String::new(), pages).try_collect().await.expect("three pages");
        assert_eq!(all, [1, 2, 3]);
    }

    #[tokio::test]
    async fn a_list_that_goes_in_a_circle_is_an_error() {
        let circle = |_| async { Ok((vec![1], "again".to_owned())) };
        let all: Result<Vec<i32>> = items(String::new(), circle).try_collect().await;
        assert!(matches!(all, Err(Error::Protocol(_))));
    }
}
