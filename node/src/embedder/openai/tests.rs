//! What needs no endpoint. The rest is in the crate `engram-tests`.

use super::*;

#[test]
fn pauses_grow_within_bounds_and_differ() {
    let mut options = OpenAiOptions::new("http://localhost:1/v1", "m", 4).expect("sound");
    options.retry_ms = 100;
    let mut model = OpenAiModel::new(options);
    let failed = OpenAiError::of_status(500, String::new(), None);
    for (attempt, longest) in [(1, 200), (2, 400), (3, 800), (30, RETRY_AFTER_MS_MAX)] {
        for _ in 0..100 {
            let pause = model.pause(attempt, &failed).as_millis();
            let range = u128::from(longest / 2)..=u128::from(longest);
            assert!(range.contains(&pause), "{attempt}: {pause}");
        }
    }
    let pauses: Vec<Duration> = (0..10).map(|_| model.pause(5, &failed)).collect();
    assert!(pauses.windows(2).any(|pair| pair[0] != pair[1]));
    let wish = |seconds| OpenAiError::of_status(429, String::new(), Some(seconds));
    assert_eq!(model.pause(1, &wish(2)), Duration::from_secs(2));
    assert_eq!(model.pause(1, &wish(99_999)), Duration::from_secs(10));
}
