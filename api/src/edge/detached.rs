use tracing::Instrument;

use crate::payload::Problem;

/// Does `work` to its end, whether or not the caller stays for it: a change that was begun is made, and a connection to the
/// database is not closed in the middle of its answer. What is given must itself have a limit. Its panic is a problem of the
/// caller.
pub(crate) async fn detached<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T, Problem> {
    tokio::spawn(work.in_current_span()).await.map_err(|error| Problem::internal().because(&error))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use poem::error::ResponseError;
    use tokio::sync::Notify;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn work_whose_caller_left_is_done() {
        let (go, done) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let work = detached({
            let (go, done) = (Arc::clone(&go), Arc::clone(&done));
            async move {
                go.notified().await;
                done.notify_one();
            }
        });

        assert!(timeout(Duration::from_millis(10), work).await.is_err(), "the caller leaves first");
        go.notify_one();

        done.notified().await;
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_of_the_caller() {
        let problem = detached(async { panic!("the secret of order 17") }).await.unwrap_err();

        assert_eq!(problem.status(), 500);
        assert!(!problem.json().contains("secret"));
    }
}
