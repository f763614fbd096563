//! Waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

/// Short enough not to slow a test, long enough not to load the machine.
const BETWEEN_PROBES: Duration = Duration::from_millis(10);

/// A second on a quiet machine.
pub const SOON: Duration = Duration::from_mins(1);

/// Waits until a condition holds, and fails the test if it does not [`SOON`].
pub async fn wait_until(what: &str, condition: impl AsyncFn() -> bool) {
    eventually(what, SOON, || async { condition().await.then_some(()) }).await;
}

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
