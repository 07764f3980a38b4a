//! Waiting for a condition.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(20);

/// Looks at a condition until it holds. `look` returns what is still missing, or what was waited
/// for.
///
/// # Errors
/// If it does not hold within `deadline`: names it, and what was missing at the end.
pub async fn until<T, F>(what: &str, deadline: Duration, mut look: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T, String>>,
{
    let begin = Instant::now();
    let mut missing = "nothing was seen".to_owned();
    while let Some(left) = deadline.checked_sub(begin.elapsed()) {
        match tokio::time::timeout(left, look()).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(reason)) => missing = reason,
            Err(_) => break,
        }
        tokio::time::sleep(INTERVAL).await;
    }
    bail!("{what}: not within {deadline:?}; at the end: {missing}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_ends_when_the_condition_holds_or_says_what_is_missing() {
        let mut looks = 0;
        let mut look = || {
            looks += 1;
            let enough = looks >= 3;
            async move { enough.then_some(7).ok_or("not yet".to_owned()) }
        };
        let found = until("three", Duration::from_secs(10), &mut look).await;
        assert_eq!(found.expect("it holds"), 7);
        let never = || async { Err::<(), _>("the moon".to_owned()) };
        let error = until("a wish", Duration::from_millis(30), never).await;
        let story = error.expect_err("it never holds").to_string();
        assert!(story.contains("a wish") && story.contains("the moon"), "{story}");
    }
}
