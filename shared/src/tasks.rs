//! The tasks that a process cannot do without, watched so that none dies unnoticed.
//!
//! When one panics, gives up or ends before the shutdown, the process logs its name, drains shortly and exits with code
//! 1: a process that looks alive and does nothing is worse than one that a supervisor starts again. In a worker the
//! shutdown is then over as soon as it begins. The task of an order is not among them: if it dies, that is a failed
//! attempt.

use std::collections::HashMap;
use std::convert::Infallible;
use std::error::Error;

use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// Vital tasks with names: if one ends too early, the process should end and be restarted. Dropping this aborts them.
#[derive(Debug, Default)]
pub struct Tasks {
    running: JoinSet<Result<(), BoxError>>,
    names: HashMap<Id, &'static str>,
}

/// How a vital task failed.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// It ended as if its work were done.
    #[error("the {0} ended too early")]
    Ended(&'static str),
    /// It panicked.
    #[error("the {0} panicked: {1}")]
    Panicked(&'static str, String),
    /// It returned an error.
    #[error("the {0} failed")]
    Failed(&'static str, #[source] BoxError),
}

type BoxError = Box<dyn Error + Send + Sync>;

impl Tasks {
    /// Without any task yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task under a name that people know, such as `intake`. Several tasks may share a name.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn_fallible(name, async move {
            task.await;
            Ok::<_, Infallible>(())
        });
    }

    /// Starts a task that can fail.
    pub fn spawn_fallible<E>(&mut self, name: &'static str, task: impl Future<Output = Result<(), E>> + Send + 'static)
    where
        E: Error + Send + Sync + 'static,
    {
        let started = self.running.spawn(async move { Ok(task.await?) });
        self.names.insert(started.id(), name);
    }

    /// Waits until all tasks have ended, as they should once `stop` is cancelled. Fails as soon as one panics, fails,
    /// or ends before `stop`; call it again to wait for the others.
    pub async fn watch(&mut self, stop: &CancellationToken) -> Result<(), TaskError> {
        while let Some(ended) = self.running.join_next_with_id().await {
            let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
            let name = self.names.remove(&id).unwrap_or("task");
            match ended {
                Ok((_, Ok(()))) if stop.is_cancelled() => {}
                Ok((_, Ok(()))) => return Err(TaskError::Ended(name)),
                Ok((_, Err(error))) => return Err(TaskError::Failed(name, error)),
                Err(error) => return Err(TaskError::of_join(name, error)),
            }
        }
        Ok(())
    }
}

impl TaskError {
    fn of_join(name: &'static str, error: JoinError) -> Self {
        match error.try_into_panic() {
            Ok(panic) => Self::Panicked(name, panic_message(panic.as_ref()).to_owned()),
            // A task is aborted only when all are dropped.
            Err(_) => Self::Ended(name),
        }
    }
}

/// The message of a panic.
#[must_use]
pub fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use std::num::ParseIntError;
    use std::panic::resume_unwind;

    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;

    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_too_early_is_named_with_its_reason_while_others_run_on() {
        struct Bad;
        impl Drop for Bad {
            fn drop(&mut self) {
                resume_unwind(Box::new("in its destructor"));
            }
        }
        let dies = async {
            drop(Bad);
            Ok(())
        };
        let cases: [(BoxFuture<'static, Result<(), ParseIntError>>, _, _); 4] = [
            (async { Ok(()) }.boxed(), "the intake ended too early", None),
            (async { "x".parse::<u8>().map(|_| ()) }.boxed(), "the intake failed", Some("invalid digit")),
            (async { resume_unwind(Box::new("out of luck")) }.boxed(), "the intake panicked: out of luck", None),
            (dies.boxed(), "the intake panicked: in its destructor", None),
        ];
        for (task, message, source) in cases {
            let stop = CancellationToken::new();
            let mut tasks = Tasks::new();
            tasks.spawn("other", stop.clone().cancelled_owned());
            tasks.spawn_fallible("intake", task);

            let failed = tasks.watch(&stop).await.unwrap_err();

            assert_eq!(failed.to_string(), message);
            assert!(source.is_none_or(|source| failed.source().is_some_and(|why| why.to_string().contains(source))));
            assert!(tasks.watch(&stop).now_or_never().is_none(), "the other one is still watched");
            stop.cancel();
            tasks.watch(&stop).await.unwrap();
        }
    }

    #[tokio::test]
    async fn after_the_stop_tasks_may_end_and_still_must_not_panic() {
        let (stop, mut tasks) = (CancellationToken::new(), Tasks::new());
        stop.cancel();
        tasks.spawn("housekeeping", async {});
        tasks.watch(&stop).await.unwrap();

        tasks.spawn("intake", async { resume_unwind(Box::new("late")) });

        assert!(matches!(tasks.watch(&stop).await, Err(TaskError::Panicked("intake", _))));
    }
}
