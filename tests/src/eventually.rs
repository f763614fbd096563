//! Waiting for what will be so, with a deadline.

use std::time::{Duration, Instant};

/// Short enough not to slow a test, long enough not to load the machine.
const BETWEEN_PROBES: Duration = Duration::from_millis(10);

/// Asks `probe` until it answers with something, and fails the test when it does not do so `within` that time.
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
