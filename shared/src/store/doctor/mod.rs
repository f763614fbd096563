//! Whether a database can be relied on: what `orders-api doctor` prints.

mod plan;
mod plans;
mod privileges;
mod server;

use std::error::Error;
use std::fmt;
use std::iter::successors;
use std::time::Duration;

use crate::domain::{ProcessorKind, Registration, WorkerId};
use crate::store::orders::counts::CountDelta;
use crate::store::sql::Script;
use crate::store::{SchemaState, Store, StoreError};

/// How long the worker of the SKIP LOCKED check lives if its row cannot be deleted: ten times as long as the check
/// takes.
const PROBE_LIFE: Duration = Duration::from_secs(30);

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The check's name.
    pub check: &'static str,
    /// How the check ended.
    pub severity: Severity,
    /// What was seen and, unless all is well, what to do.
    pub detail: String,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// As it should be.
    Ok,
    /// The programs work, but do not keep all their promises.
    Warning,
    /// The programs do not work, or not safely, on this database.
    Failed,
}

impl Store {
    /// Checks the live database. Changes nothing except one row of `workers`, which it removes again.
    ///
    /// Ends early if later checks would only repeat a failure: the database is away, has another schema, or lacks
    /// privileges. It needs two connections at once.
    pub async fn diagnose(&self) -> Vec<Finding> {
        let mut findings = vec![self.reachable().await];
        if findings.iter().all(|finding| finding.severity == Severity::Ok) {
            findings.extend(self.server().await);
            let needed = [self.schema().await, self.privileges().await];
            let goes_on = needed.iter().all(|finding| finding.severity != Severity::Failed);
            findings.extend(needed);
            if goes_on {
                findings.push(Box::pin(self.skip_locked()).await);
                findings.push(self.scripts().await);
                findings.extend(Box::pin(self.plans()).await);
                findings.push(self.claims().await);
                findings.push(self.counts().await);
            }
        }
        findings
    }

    async fn reachable(&self) -> Finding {
        let check = Check("reachable");
        match self.ping().await {
            Ok(()) => check.ok("the database answers"),
            Err(error) => check.failed(format!(
                "{}: check DATABASE_URL, and that the server runs, has this database and lets this user in",
                Causes(&error)
            )),
        }
    }

    async fn schema(&self) -> Finding {
        let check = Check("schema");
        check.of(self.schema_state().await, |state| match state {
            SchemaState::Current => check.ok(state),
            state => check.failed(state),
        })
    }

    async fn skip_locked(&self) -> Finding {
        let check = Check("skip locked");
        let worker_id = WorkerId::fresh();
        let probe = Registration {
            worker_id,
            host: "orders-api doctor".to_owned(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            processor: ProcessorKind::Rust,
            slots: 0,
            wakeup_address: None,
            dead_after: PROBE_LIFE,
        };
        let skips = match self.register(&probe).await {
            Ok(()) => self.skips_locked_rows(worker_id).await,
            Err(error) => Err(error),
        };
        // Even after an error: the row may have been inserted. If it stays, it expires like that of a dead worker.
        let _ = self.unregister(worker_id).await;
        check.of(skips, |skips| {
            if skips {
                check.ok("one connection locked a row, and another one skipped it")
            } else {
                check.failed(
                    "a locked row was not skipped, so several workers would get the same order or wait for one \
                     another: run on MySQL 8.0 or later, or MariaDB 10.6 or later, and on one writable node",
                )
            }
        })
    }

    async fn scripts(&self) -> Finding {
        let check = Check("scripts");
        let answered = self.call("send several statements in one message", async |connection| {
            Script::begin().then("select now(6)").rollback().run(connection).await?.time()
        });
        match answered.await {
            Ok(_) => check.ok("several statements travel in one message"),
            Err(error) => check.failed(format!(
                "{}: the programs need it to place orders; a proxy in between must let such messages pass",
                Causes(&error)
            )),
        }
    }

    async fn claims(&self) -> Finding {
        let check = Check("claims");
        check.of(self.unlisted().await, |unlisted| match unlisted {
            0 => check.ok("every PROCESSING order is in the row of its claim"),
            _ => check.failed(format!(
                "PROCESSING orders that are in no row of `claims`, so that nobody would rescue them: {unlisted}; \
                 somebody changed the tables by hand, or the database lost commits: run `orders-api migrate`"
            )),
        })
    }

    async fn counts(&self) -> Finding {
        let check = Check("counts");
        check.of(self.miscounted().await, |by| {
            if by == CountDelta::default() {
                return check.ok("the stored counts equal a full count");
            }
            check.warning(format!(
                "the stored counts are wrong, {by}; somebody changed the tables by hand, or a release that does not \
                 count was running: run `orders-api migrate`"
            ))
        })
    }
}

/// The name of a check, which makes its finding.
#[derive(Clone, Copy)]
struct Check(&'static str);

impl Check {
    fn ok(self, detail: impl fmt::Display) -> Finding {
        Finding { check: self.0, severity: Severity::Ok, detail: detail.to_string() }
    }

    fn warning(self, detail: impl fmt::Display) -> Finding {
        Finding { severity: Severity::Warning, ..self.ok(detail) }
    }

    fn failed(self, detail: impl fmt::Display) -> Finding {
        Finding { severity: Severity::Failed, ..self.ok(detail) }
    }

    /// What `find` makes of an answer; failed if there is none.
    fn of<T>(self, answer: Result<T, StoreError>, find: impl FnOnce(T) -> Finding) -> Finding {
        answer.map_or_else(|error| self.failed(Causes(&error)), find)
    }
}

/// An error with its causes, on one line.
struct Causes<'a>(&'a StoreError);

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        for cause in successors(self.0.source(), |&cause| cause.source()).map(ToString::to_string) {
            // The driver's errors often repeat their own cause.
            if !text.ends_with(&cause) {
                text = format!("{text}: {cause}");
            }
        }
        f.write_str(&text)
    }
}
