//! What the server is, and how it and our sessions are set.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Causes, Check, Finding};
use crate::store::{Store, StoreError};

/// Speak MySQL's protocol, and lock otherwise.
const OTHERS: [&str; 5] = ["tidb", "oceanbase", "vitess", "singlestore", "dolt"];

/// Seconds between the clocks from which on people wonder at what they see.
const CLOCK_OFFSET_MAX: TimeDelta = TimeDelta::seconds(1);

const IDENTITY: &str = "select version(), @@version_comment";

/// By name, as no server knows all of them.
const VARIABLES: &str = r"
    show session variables
    where variable_name in (
        'binlog_format', 'innodb_flush_log_at_trx_commit', 'log_bin', 'sync_binlog', 'time_zone',
        'transaction_isolation', 'tx_isolation', 'wsrep_on'
    )
";

/// What the server says of itself.
struct Server {
    version: String,
    comment: String,
    variables: Vec<(String, String)>,
    /// How far its clock is ahead of this machine's, give or take half of `answer_time`.
    ahead: TimeDelta,
    answer_time: TimeDelta,
}

impl Store {
    pub(super) async fn server(&self) -> Vec<Finding> {
        match self.ask_server().await {
            Ok(server) => {
                vec![server.version(), server.isolation(), server.binlog(), server.durability(), server.clock()]
            }
            Err(error) => vec![Check("server").failed(Causes(&error))],
        }
    }

    async fn ask_server(&self) -> Result<Server, StoreError> {
        self.call("ask the server how it is set", async {
            let mut line = self.line().await?;
            let (version, comment) = sqlx::query_as(IDENTITY).fetch_one(&mut *line).await?;
            let variables = sqlx::query_as(VARIABLES).fetch_all(&mut *line).await?;
            let asked = Utc::now();
            let now: DateTime<Utc> = sqlx::query_scalar("select now(6)").fetch_one(&mut *line).await?;
            let answer_time = Utc::now() - asked;
            line.done();
            Ok(Server { version, comment, variables, ahead: now - (asked + answer_time / 2), answer_time })
        })
        .await
    }
}

impl Server {
    fn version(&self) -> Finding {
        let Self { version, comment, .. } = self;
        let check = Check("server");
        let wanted = "run on MySQL 8.0 or later, or MariaDB 10.6 or later";
        let says = format!("{version} {comment}").to_lowercase();
        if let Some(other) = OTHERS.iter().find(|&&other| says.contains(other)) {
            return check.failed(format!("{version} is {other}, which only speaks like MySQL: {wanted}"));
        }
        let (name, oldest) = if says.contains("mariadb") { ("MariaDB", (10, 6)) } else { ("MySQL", (8, 0)) };
        if numbers(version).is_none_or(|numbers| numbers < oldest) {
            return check.failed(format!("{name}, version {version}, is too old: {wanted}"));
        }
        if self.variable("wsrep_on") == "ON" {
            return check.warning(format!(
                "{name}, version {version}, in a Galera cluster, whose locks hold on one node only: have every program \
                 write to the same node"
            ));
        }
        check.ok(format!("{name}, version {version}"))
    }

    fn isolation(&self) -> Finding {
        let check = Check("isolation");
        let is = format!("{}{}", self.variable("transaction_isolation"), self.variable("tx_isolation"));
        if is == "READ-COMMITTED" {
            return check.ok("our sessions are READ COMMITTED");
        }
        check.failed(format!(
            "our sessions are {is:?} and not READ COMMITTED, as they were set: connect without a proxy that shares \
             sessions or drops their settings"
        ))
    }

    fn binlog(&self) -> Finding {
        let check = Check("binlog");
        match (self.variable("log_bin"), self.variable("binlog_format")) {
            ("ON", "STATEMENT") => check.failed(
                "binlog_format is STATEMENT, with which the server refuses every write of a READ COMMITTED session: \
                 set binlog_format=ROW",
            ),
            ("ON", format) => check.ok(format!("binlog_format is {format}")),
            _ => check.ok("there is no binary log"),
        }
    }

    fn durability(&self) -> Finding {
        let check = Check("durability");
        let flush = ("innodb_flush_log_at_trx_commit", self.variable("innodb_flush_log_at_trx_commit"));
        let sync = ("sync_binlog", self.variable("sync_binlog"));
        let needed = if self.variable("log_bin") == "ON" { vec![flush, sync] } else { vec![flush] };
        let lax: Vec<_> = needed.iter().filter(|(_, value)| *value != "1").collect();
        if lax.is_empty() {
            return check.ok("a commit is on disk when it is answered");
        }
        let are = lax.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ");
        let names = lax.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" and ");
        check.warning(format!(
            "{are}: an order that was answered with 201 may be lost in a power cut; where that matters, set {names} to 1"
        ))
    }

    fn clock(&self) -> Finding {
        let check = Check("clock");
        let zone = self.variable("time_zone");
        if zone != "+00:00" {
            return check.failed(format!(
                "our sessions have the time zone {zone:?} and not +00:00, as they were set: connect without a proxy \
                 that shares sessions or drops their settings"
            ));
        }
        let millis = self.ahead.num_milliseconds();
        let (direction, millis) = (if millis < 0 { "behind" } else { "ahead of" }, millis.unsigned_abs());
        let says =
            format!("the server's clock is {}.{:03} s {direction} this machine's", millis / 1_000, millis % 1_000);
        if self.ahead.abs() - self.answer_time / 2 <= CLOCK_OFFSET_MAX {
            return check.ok(says);
        }
        check.warning(format!("{says}: orders go by the server's, so only people are misled; set both by NTP"))
    }

    fn variable(&self, name: &str) -> &str {
        self.variables.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

/// `(10, 11)` of `10.11.6-MariaDB`.
fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn server(version: &str, comment: &str, variables: &[(&str, &str)]) -> Server {
        Server {
            version: version.to_owned(),
            comment: comment.to_owned(),
            variables: variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
            ahead: TimeDelta::zero(),
            answer_time: TimeDelta::zero(),
        }
    }

    #[test]
    fn servers_that_skip_locked_rows_are_told_from_others_by_their_version() {
        for (version, comment, verdict) in [
            ("8.0.36", "MySQL Community Server - GPL", Verdict::Ok),
            ("8.0.mysql_aurora.3.04.0", "Source distribution", Verdict::Ok),
            ("10.11.6-MariaDB-log", "Debian 12", Verdict::Ok),
            ("5.7.44", "MySQL Community Server (GPL)", Verdict::Failed),
            ("10.5.9-MariaDB", "", Verdict::Failed),
            ("8.0.11-TiDB-v7.5.0", "TiDB Server (Apache License 2.0)", Verdict::Failed),
            ("no number", "", Verdict::Failed),
        ] {
            assert_eq!(server(version, comment, &[]).version().verdict, verdict, "{version}");
        }
        let galera = server("10.11.6-MariaDB", "", &[("wsrep_on", "ON")]);
        assert_eq!(galera.version().verdict, Verdict::Warning);
    }

    #[test]
    fn only_a_statement_binlog_is_refused() {
        for (log_bin, format, verdict) in [
            ("OFF", "STATEMENT", Verdict::Ok),
            ("ON", "ROW", Verdict::Ok),
            ("ON", "MIXED", Verdict::Ok),
            ("ON", "STATEMENT", Verdict::Failed),
        ] {
            let server = server("", "", &[("log_bin", log_bin), ("binlog_format", format)]);

            assert_eq!(server.binlog().verdict, verdict, "{log_bin} {format}");
        }
    }

    #[test]
    fn a_clock_may_be_off_by_a_second_and_what_the_answer_took() {
        for (ahead, took, verdict) in [
            (900, 0, Verdict::Ok),
            (-900, 0, Verdict::Ok),
            (1_100, 0, Verdict::Warning),
            (-1_100, 0, Verdict::Warning),
            (1_100, 400, Verdict::Ok),
        ] {
            let mut server = server("", "", &[("time_zone", "+00:00")]);
            (server.ahead, server.answer_time) = (TimeDelta::milliseconds(ahead), TimeDelta::milliseconds(took));

            assert_eq!(server.clock().verdict, verdict, "{ahead} {took}");
        }
    }
}
