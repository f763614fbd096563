//! Waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

/// Short enough not to slow a test, long enough not to load the machine.
const BETWEEN_PROBES: Duration = Duration::from_millis(10);

/// Calls `probe` until it returns a value, and fails the test if it does not `within` that time.
pub async fn eventually<T, F, Fut>(what: &str, within: Duration, mut probe: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let started = Instant::now();
    loop {
        if let Some(answer) = probe().await {
            return answer;
        }
        assert!(started.elapsed() < within, "not within {within:?}: {what}");
        tokio::time::sleep(BETWEEN_PROBES).await;
    }
}
