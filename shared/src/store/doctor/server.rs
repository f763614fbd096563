//! What the server is, and how it and our sessions are set.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::AssertSqlSafe;

use super::{Causes, Check, Finding};
use crate::store::connection::{PINNED, Pinned, Tls, is_as_pinned};
use crate::store::{Store, StoreError};

/// Speak MySQL's protocol, and lock otherwise.
const OTHERS: [&str; 5] = ["tidb", "oceanbase", "vitess", "singlestore", "dolt"];

/// Seconds between the clocks from which on people wonder at what they see.
const CLOCK_OFFSET_MAX: TimeDelta = TimeDelta::seconds(1);

/// The largest order with the largest batch beside it fits such a packet, which is the servers' default.
const PACKET_MIN: u64 = 16 << 20;

/// The servers' default. Programs that open and drop connections, such as health checks by TCP, reach less in a minute.
const CONNECT_ERRORS_MIN: u64 = 100;

const CIPHER: &str = "show session status where variable_name = 'Ssl_cipher'";

const IDENTITY: &str = "select version(), @@version_comment";

/// By name, as no server knows all of them.
const VARIABLES: &str = r"
    show session variables
    where variable_name in (
        'binlog_format', 'innodb_flush_log_at_trx_commit', 'log_bin', 'max_allowed_packet', 'max_connect_errors',
        'skip_name_resolve', 'sync_binlog', 'transaction_isolation', 'transaction_read_only', 'tx_isolation',
        'tx_read_only', 'wsrep_on'
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
    /// How far its clock is behind the newest order.
    behind_newest: Duration,
    tls: Tls,
    /// The cipher of our connection; empty without TLS.
    cipher: String,
}

impl Store {
    pub(super) async fn server(&self) -> Vec<Finding> {
        match self.ask_server().await {
            Ok(mut server) => {
                // Where there are no tables yet, nothing is behind them.
                server.behind_newest = self.read_clock().await.map(|(_, behind)| behind).unwrap_or_default();
                vec![
                    server.version(),
                    server.tls(),
                    server.isolation(),
                    server.session(),
                    server.binlog(),
                    server.durability(),
                    server.packet(),
                    server.connect_errors(),
                    server.clock(),
                ]
            }
            Err(error) => vec![Check("server").failed(Causes(&error))],
        }
    }

    async fn ask_server(&self) -> Result<Server, StoreError> {
        self.call("ask the server how it is set", async |connection| {
            let (version, comment) = sqlx::query_as(IDENTITY).fetch_one(&mut *connection).await?;
            let mut variables: Vec<(String, String)> = sqlx::query_as(VARIABLES).fetch_all(&mut *connection).await?;
            let names: Vec<_> = PINNED.iter().map(|pinned| format!("'{}'", pinned.name)).collect();
            let pinned = format!("show session variables where variable_name in ({})", names.join(", "));
            let pinned: Vec<(String, String)> =
                sqlx::query_as(AssertSqlSafe(pinned)).fetch_all(&mut *connection).await?;
            variables.extend(pinned);
            let cipher: Option<(String, String)> = sqlx::query_as(CIPHER).fetch_optional(&mut *connection).await?;
            let asked = Utc::now();
            let now: DateTime<Utc> = sqlx::query_scalar("select now(6)").fetch_one(&mut *connection).await?;
            let answer_time = Utc::now() - asked;
            Ok(Server {
                version,
                comment,
                variables,
                ahead: now - (asked + answer_time / 2),
                answer_time,
                behind_newest: Duration::ZERO,
                tls: self.pool.tls(),
                cipher: cipher.map(|(_, cipher)| cipher).unwrap_or_default(),
            })
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

    fn tls(&self) -> Finding {
        let check = Check("tls");
        let verify = "set ssl-mode=VERIFY_CA and ssl-ca in DATABASE_URL";
        match (self.tls, self.cipher.as_str()) {
            (Tls::Unverified, "") => check.warning(format!(
                "the connection is not encrypted, and the server is on another machine: {verify}, or spell out the \
                 ssl-mode that is meant"
            )),
            (Tls::Unverified, cipher) => check.warning(format!(
                "the connection is encrypted ({cipher}), but the server's certificate is not verified: {verify}, or spell \
                 out the ssl-mode that is meant"
            )),
            (Tls::Accepted, "") => check.ok("the connection is not encrypted, as was chosen or as it is on this machine"),
            (Tls::Accepted, cipher) => check.ok(format!("the connection is encrypted ({cipher})")),
            (Tls::Verified, cipher) => {
                check.ok(format!("the connection is encrypted ({cipher}), and the server's certificate is verified"))
            }
        }
    }

    fn session(&self) -> Finding {
        let check = Check("session");
        let differs = |pinned: &&Pinned| {
            let shown = self.variables.iter().find(|(name, _)| name.eq_ignore_ascii_case(pinned.name));
            shown.is_some_and(|(_, value)| !is_as_pinned(pinned, value))
        };
        let different: Vec<_> = PINNED
            .iter()
            .filter(differs)
            .map(|pinned| format!("{} is {:?} and not {:?}", pinned.name, self.variable(pinned.name), pinned.shown))
            .collect();
        if different.is_empty() {
            return check.ok("every variable that matters is as our sessions set it");
        }
        check.failed(format!(
            "{}, as our sessions set it: connect without a proxy that shares sessions or drops their settings",
            different.join(", ")
        ))
    }

    fn packet(&self) -> Finding {
        let check = Check("packet");
        match self.variable("max_allowed_packet").parse::<u64>() {
            Ok(bytes) if bytes < PACKET_MIN => check.warning(format!(
                "max_allowed_packet is {bytes}, so that large orders and batches are refused: set it to {PACKET_MIN} or more"
            )),
            Ok(bytes) => check.ok(format!("the server accepts {bytes} bytes at once")),
            Err(_) => check.warning("the server does not tell its max_allowed_packet"),
        }
    }

    fn connect_errors(&self) -> Finding {
        let check = Check("connect errors");
        match (self.variable("skip_name_resolve"), self.variable("max_connect_errors").parse::<u64>()) {
            ("ON", _) => check.ok("the server resolves no names, and shuts no host out"),
            (_, Ok(errors)) if errors < CONNECT_ERRORS_MIN => check.warning(format!(
                "max_connect_errors is {errors}: after so many interrupted handshakes in a row the server shuts this host \
                 out until somebody runs `truncate table performance_schema.host_cache`, on MariaDB `flush hosts`: set it \
                 to {CONNECT_ERRORS_MIN} or more, or set skip_name_resolve"
            )),
            (_, Ok(errors)) => check.ok(format!("the server shuts a host out after {errors} interrupted handshakes")),
            (_, Err(_)) => check.ok("the server shuts no host out"),
        }
    }

    fn isolation(&self) -> Finding {
        let check = Check("isolation");
        let is = format!("{}{}", self.variable("transaction_isolation"), self.variable("tx_isolation"));
        let reads_only = [self.variable("transaction_read_only"), self.variable("tx_read_only")].contains(&"ON");
        if is == "READ-COMMITTED" && !reads_only {
            return check.ok("our sessions are READ COMMITTED");
        }
        let mode = if reads_only { ", READ ONLY" } else { "" };
        check.failed(format!(
            "our sessions are {is:?}{mode} and not READ COMMITTED, as they were set: connect without a proxy that shares \
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
        if !self.behind_newest.is_zero() {
            let behind = self.behind_newest.as_secs();
            return check.warning(format!(
                "the server's clock went back: it is {behind} s behind the newest order; orders are processed all the same, \
                 but times are misleading: set it by NTP"
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
    use super::super::Severity;
    use super::*;

    fn server(version: &str, comment: &str, variables: &[(&str, &str)]) -> Server {
        Server {
            version: version.to_owned(),
            comment: comment.to_owned(),
            variables: variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
            ahead: TimeDelta::zero(),
            answer_time: TimeDelta::zero(),
            behind_newest: Duration::ZERO,
            tls: Tls::Accepted,
            cipher: String::new(),
        }
    }

    #[test]
    fn servers_that_skip_locked_rows_are_told_from_others_by_their_version() {
        for (version, comment, severity) in [
            ("8.0.36", "MySQL Community Server - GPL", Severity::Ok),
            ("8.0.mysql_aurora.3.04.0", "Source distribution", Severity::Ok),
            ("10.11.6-MariaDB-log", "Debian 12", Severity::Ok),
            ("5.7.44", "MySQL Community Server (GPL)", Severity::Failed),
            ("10.5.9-MariaDB", "", Severity::Failed),
            ("8.0.11-TiDB-v7.5.0", "TiDB Server (Apache License 2.0)", Severity::Failed),
            ("no number", "", Severity::Failed),
        ] {
            assert_eq!(server(version, comment, &[]).version().severity, severity, "{version}");
        }
        let galera = server("10.11.6-MariaDB", "", &[("wsrep_on", "ON")]);
        assert_eq!(galera.version().severity, Severity::Warning);
    }

    #[test]
    fn only_a_statement_binlog_is_refused() {
        for (log_bin, format, severity) in [
            ("OFF", "STATEMENT", Severity::Ok),
            ("ON", "ROW", Severity::Ok),
            ("ON", "MIXED", Severity::Ok),
            ("ON", "STATEMENT", Severity::Failed),
        ] {
            let server = server("", "", &[("log_bin", log_bin), ("binlog_format", format)]);

            assert_eq!(server.binlog().severity, severity, "{log_bin} {format}");
        }
    }

    #[test]
    fn a_clock_may_be_off_by_a_second_and_what_the_answer_took() {
        for (ahead, took, severity) in [
            (900, 0, Severity::Ok),
            (-900, 0, Severity::Ok),
            (1_100, 0, Severity::Warning),
            (-1_100, 0, Severity::Warning),
            (1_100, 400, Severity::Ok),
        ] {
            let mut server = server("", "", &[]);
            (server.ahead, server.answer_time) = (TimeDelta::milliseconds(ahead), TimeDelta::milliseconds(took));

            assert_eq!(server.clock().severity, severity, "{ahead} {took}");
        }
    }

    #[test]
    fn a_session_that_is_not_as_we_set_it_is_named() {
        for (name, value, severity) in [
            ("autocommit", "ON", Severity::Ok),
            ("autocommit", "OFF", Severity::Failed),
            ("sql_mode", "NO_ENGINE_SUBSTITUTION,STRICT_ALL_TABLES", Severity::Ok),
            ("sql_mode", "ANSI_QUOTES", Severity::Failed),
            ("max_statement_time", "0.000000", Severity::Failed),
        ] {
            let found = server("", "", &[(name, value)]).session();

            assert_eq!(found.severity, severity, "{name}={value}: {}", found.detail);
            assert_eq!(found.detail.contains(name), severity == Severity::Failed, "{}", found.detail);
        }
    }

    #[test]
    fn a_server_that_soon_shuts_hosts_out_or_takes_little_at_once_is_told_of() {
        let named = |errors| server("", "", &[("skip_name_resolve", "OFF"), ("max_connect_errors", errors)]);
        assert_eq!(named("10").connect_errors().severity, Severity::Warning);
        assert_eq!(named("100").connect_errors().severity, Severity::Ok);
        let unnamed = server("", "", &[("skip_name_resolve", "ON"), ("max_connect_errors", "10")]);
        assert_eq!(unnamed.connect_errors().severity, Severity::Ok);

        let takes = |bytes| server("", "", &[("max_allowed_packet", bytes)]).packet().severity;
        assert_eq!(takes("1048576"), Severity::Warning);
        assert_eq!(takes("16777216"), Severity::Ok);
    }
}
