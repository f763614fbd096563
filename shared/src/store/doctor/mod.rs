//! Whether a database can be relied on: what `orders-api doctor` prints.

mod judge;
mod plans;
mod privileges;
mod server;

use std::error::Error;
use std::fmt;
use std::iter::successors;
use std::time::Duration;

use crate::domain::{Registration, WorkerId};
use crate::store::orders::counts::CountDelta;
use crate::store::sql::Script;
use crate::store::{SchemaState, Store, StoreError};

/// How long the row of the SKIP LOCKED check may stay if its deletion fails: ten times as long as the check takes.
const PROBE_LIFE: Duration = Duration::from_secs(30);

/// What one check came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The check's name.
    pub check: &'static str,
    /// How it ended.
    pub severity: Severity,
    /// What was seen and, unless all is well, what to do.
    pub detail: String,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// As it should be.
    Ok,
    /// The programs work, but not all that is promised holds.
    Warning,
    /// The programs do not work, or not safely, on this database.
    Failed,
}

impl Store {
    /// Checks the database, live. Changes nothing but for one row of `workers`, which it removes again.
    ///
    /// Ends early where the later checks would only repeat a failure: the database away, another schema, no privileges.
    /// It takes two connections at once.
    pub async fn diagnose(&self) -> Vec<Finding> {
        let mut findings = vec![self.reachable().await];
        if findings.iter().all(Finding::is_ok) {
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
        match self.schema_state().await {
            Ok(SchemaState::Current) => check.ok(SchemaState::Current),
            Ok(state) => check.failed(state),
            Err(error) => check.failed(Causes(&error)),
        }
    }

    async fn skip_locked(&self) -> Finding {
        let check = Check("skip locked");
        let worker_id = WorkerId::fresh();
        let probe = Registration {
            worker_id,
            host: "orders-api doctor".to_owned(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            slots: 0,
            wakeup_address: None,
            dead_after: PROBE_LIFE,
        };
        let skips = match self.register(&probe).await {
            Ok(()) => self.skips_locked_rows(worker_id).await,
            Err(error) => Err(error),
        };
        // Also after an error, which may have come behind the insert. What stays is buried as a dead worker.
        let _ = self.unregister(worker_id).await;
        match skips {
            Ok(true) => check.ok("one connection locked a row, and another one passed over it"),
            Ok(false) => check.failed(
                "a locked row was not passed over, so several workers would get the same order or wait for one \
                 another: run on MySQL 8.0 or later, or MariaDB 10.6 or later, and on one writable node",
            ),
            Err(error) => check.failed(Causes(&error)),
        }
    }

    async fn scripts(&self) -> Finding {
        let check = Check("scripts");
        let answered = self.call("send several statements in one message", async |connection| {
            let ran = Script::begin().then("select now(6)").rollback().run(connection).await?;
            ran.time()
        });
        match answered.await {
            Ok(_) => check.ok("several statements travel in one message"),
            Err(error) => check.failed(format!(
                "{}: without it no order is placed; a proxy in between must let them pass",
                Causes(&error)
            )),
        }
    }

    async fn claims(&self) -> Finding {
        let check = Check("claims");
        match self.unlisted().await {
            Ok(lost) if lost > 0 => check.failed(format!(
                "in no row of claims, so that nobody would rescue them: {lost} of the orders that are PROCESSING, as after \
                 changes by SQL of one's own, or where the database lost what it had committed: run `orders-api migrate`"
            )),
            Ok(_) => check.ok("every order in work stands in the row of its claim"),
            Err(error) => check.failed(Causes(&error)),
        }
    }

    async fn counts(&self) -> Finding {
        let check = Check("counts");
        match self.miscounted().await {
            Ok(by) if by == CountDelta::default() => check.ok("the counts that are kept equal a full count"),
            Ok(by) => check.warning(format!(
                "the counts that are kept are wrong, {by}, as after changes by SQL of one's own or beside a release that \
                 kept none: run `orders-api migrate`"
            )),
            Err(error) => check.failed(Causes(&error)),
        }
    }
}

impl Finding {
    fn is_ok(&self) -> bool {
        self.severity == Severity::Ok
    }
}

/// The name of a check, to be completed to its finding.
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
}

/// An error with its causes, on one line.
struct Causes<'a>(&'a StoreError);

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        for cause in successors(self.0.source(), |&cause| cause.source()).map(ToString::to_string) {
            // The driver's errors often repeat their cause themselves.
            if !text.ends_with(&cause) {
                text = format!("{text}: {cause}");
            }
        }
        f.write_str(&text)
    }
}
