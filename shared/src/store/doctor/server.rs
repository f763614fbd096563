//! Checks what the server is, and the variables of it and of our sessions.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::AssertSqlSafe;

use super::{Causes, Check, Finding};
use crate::store::connection::{PINNED, Pinned, Tls, is_as_pinned};
use crate::store::{Store, StoreError};

/// Servers that speak MySQL's protocol, but lock in other ways.
const OTHERS: [&str; 5] = ["tidb", "oceanbase", "vitess", "singlestore", "dolt"];

/// If the clocks differ by more, people are misled by the times that they see.
const CLOCK_OFFSET_MAX: TimeDelta = TimeDelta::seconds(1);

/// The servers' default, into which the largest order fits together with the largest batch.
const PACKET_MIN: u64 = 16 << 20;

/// The servers' default. With less, programs that open and drop connections, such as TCP health checks, get this host
/// shut out within a minute.
const CONNECT_ERRORS_MIN: u64 = 100;

/// The remedy for a session that is not as we set it.
const NO_PROXY: &str = "connect without a proxy that shares sessions or drops their settings";

const CIPHER: &str = "show session status where variable_name = 'Ssl_cipher'";

/// Read by name, with those of [`PINNED`], as no server has all of them.
const VARIABLES: [&str; 14] = [
    "binlog_format",
    "innodb_flush_log_at_trx_commit",
    "log_bin",
    "max_allowed_packet",
    "max_connect_errors",
    "skip_name_resolve",
    "sync_binlog",
    "transaction_isolation",
    "transaction_read_only",
    "tx_isolation",
    "tx_read_only",
    "version",
    "version_comment",
    "wsrep_on",
];

/// What the server says about itself.
struct Server {
    variables: Vec<(String, String)>,
    /// How far its clock is ahead of this machine's, give or take half of `answer_time`.
    ahead: TimeDelta,
    answer_time: TimeDelta,
    /// How far its clock is behind the newest order.
    behind_newest: Duration,
    tls: Tls,
}

impl Store {
    pub(super) async fn server(&self) -> Vec<Finding> {
        let server = match self.ask_server().await {
            Ok(server) => server,
            Err(error) => return vec![Check("server").failed(Causes(&error))],
        };
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

    async fn ask_server(&self) -> Result<Server, StoreError> {
        let names = VARIABLES.iter().copied().chain(PINNED.iter().map(|pinned| pinned.name));
        let names = names.map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
        let show = format!("show session variables where variable_name in ({names})");
        let asking = self.call("ask the server how it is set", async |connection| {
            let mut variables: Vec<(String, String)> =
                sqlx::query_as(AssertSqlSafe(show)).fetch_all(&mut *connection).await?;
            variables.extend(sqlx::query_as(CIPHER).fetch_optional(&mut *connection).await?);
            let asked = Utc::now();
            let now: DateTime<Utc> = sqlx::query_scalar("select now(6)").fetch_one(connection).await?;
            let answer_time = Utc::now() - asked;
            Ok((variables, now - (asked + answer_time / 2), answer_time))
        });
        let (variables, ahead, answer_time) = asking.await?;
        // Fails if there are no tables yet; then there is no newest order either.
        let behind_newest = self.read_clock().await.map(|(_, behind)| behind).unwrap_or_default();
        Ok(Server { variables, ahead, answer_time, behind_newest, tls: self.pool.tls() })
    }
}

impl Server {
    fn version(&self) -> Finding {
        let (version, comment) = (self.variable("version"), self.variable("version_comment"));
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
        let advice = "set ssl-mode=VERIFY_CA and ssl-ca in DATABASE_URL, or spell out the ssl-mode that is meant";
        match (self.tls, self.variable("Ssl_cipher")) {
            (Tls::Unverified, "") => check
                .warning(format!("the connection is not encrypted, and the server is on another machine: {advice}")),
            (Tls::Unverified, cipher) => check.warning(format!(
                "the connection is encrypted ({cipher}), but the server's certificate is not verified: {advice}"
            )),
            (Tls::Accepted, "") => {
                check.ok("the connection is not encrypted, as was chosen or as it is on this machine")
            }
            (Tls::Accepted, cipher) => check.ok(format!("the connection is encrypted ({cipher})")),
            (Tls::Verified, cipher) => {
                check.ok(format!("the connection is encrypted ({cipher}), and the server's certificate is verified"))
            }
        }
    }

    fn session(&self) -> Finding {
        let check = Check("session");
        let difference = |pinned: &Pinned| {
            let shown = self.find(pinned.name).filter(|shown| !is_as_pinned(pinned, shown))?;
            Some(format!("{} is {shown:?} and not {:?}", pinned.name, pinned.shown))
        };
        let differences: Vec<_> = PINNED.iter().filter_map(difference).collect();
        if differences.is_empty() {
            return check.ok("every variable that matters is as our sessions set it");
        }
        check.failed(format!("{}, as our sessions set it: {NO_PROXY}", differences.join(", ")))
    }

    fn packet(&self) -> Finding {
        let check = Check("packet");
        match self.variable("max_allowed_packet").parse::<u64>() {
            Ok(bytes) if bytes < PACKET_MIN => check.warning(format!(
                "max_allowed_packet is {bytes}, too small for large orders and batches: set it to {PACKET_MIN} or more"
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
                "max_connect_errors is {errors}: after so many interrupted handshakes in a row the server shuts this \
                 host out until somebody runs `truncate table performance_schema.host_cache`, on MariaDB `flush hosts`: \
                 set it to {CONNECT_ERRORS_MIN} or more, or set skip_name_resolve"
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
        check.failed(format!("our sessions are {is:?}{mode} and not READ COMMITTED, as they were set: {NO_PROXY}"))
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
        let needed = ["innodb_flush_log_at_trx_commit", "sync_binlog"];
        let needed = needed.into_iter().take(if self.variable("log_bin") == "ON" { 2 } else { 1 });
        let lax: Vec<_> = needed.filter(|name| self.variable(name) != "1").collect();
        if lax.is_empty() {
            return check.ok("a commit is on disk when it is answered");
        }
        let are: Vec<_> = lax.iter().map(|name| format!("{name}={}", self.variable(name))).collect();
        check.warning(format!(
            "{}: an order that was answered with 201 may be lost in a power cut; where that matters, set {} to 1",
            are.join(", "),
            lax.join(" and ")
        ))
    }

    fn clock(&self) -> Finding {
        let check = Check("clock");
        if !self.behind_newest.is_zero() {
            let behind = self.behind_newest.as_secs();
            return check.warning(format!(
                "the server's clock went back: it is {behind} s behind the newest order; orders are processed all the \
                 same, but times are misleading: set it by NTP"
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
        self.find(name).unwrap_or_default()
    }

    fn find(&self, name: &str) -> Option<&str> {
        let found = self.variables.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// `(10, 11)` of `10.11.6-MariaDB`.
fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::Severity::{self, Failed, Ok, Warning};
    use super::*;

    type Case = (fn(&Server) -> Finding, &'static str, Severity);

    /// A server that shows these variables: `name=value`, one a line.
    fn server(variables: &str) -> Server {
        let variables = variables.lines().filter_map(|line| line.split_once('='));
        Server {
            variables: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            ahead: TimeDelta::zero(),
            answer_time: TimeDelta::zero(),
            behind_newest: Duration::ZERO,
            tls: Tls::Accepted,
        }
    }

    #[test]
    fn each_check_tells_good_settings_from_bad_ones() {
        let cases: [Case; 22] = [
            (Server::version, "version=8.0.36\nversion_comment=MySQL Community Server - GPL", Ok),
            (Server::version, "version=8.0.mysql_aurora.3.04.0\nversion_comment=Source distribution", Ok),
            (Server::version, "version=10.11.6-MariaDB-log\nversion_comment=Debian 12", Ok),
            (Server::version, "version=10.11.6-MariaDB\nwsrep_on=ON", Warning),
            (Server::version, "version=5.7.44\nversion_comment=MySQL Community Server (GPL)", Failed),
            (Server::version, "version=10.5.9-MariaDB", Failed),
            (Server::version, "version=8.0.11-TiDB-v7.5.0\nversion_comment=TiDB Server (Apache License 2.0)", Failed),
            (Server::version, "version=no number", Failed),
            (Server::binlog, "log_bin=OFF\nbinlog_format=STATEMENT", Ok),
            (Server::binlog, "log_bin=ON\nbinlog_format=ROW", Ok),
            (Server::binlog, "log_bin=ON\nbinlog_format=MIXED", Ok),
            (Server::binlog, "log_bin=ON\nbinlog_format=STATEMENT", Failed),
            (Server::session, "autocommit=ON", Ok),
            (Server::session, "autocommit=OFF", Failed),
            (Server::session, "sql_mode=NO_ENGINE_SUBSTITUTION,STRICT_ALL_TABLES", Ok),
            (Server::session, "sql_mode=ANSI_QUOTES", Failed),
            (Server::session, "max_statement_time=0.000000", Failed),
            (Server::connect_errors, "skip_name_resolve=OFF\nmax_connect_errors=10", Warning),
            (Server::connect_errors, "skip_name_resolve=OFF\nmax_connect_errors=100", Ok),
            (Server::connect_errors, "skip_name_resolve=ON\nmax_connect_errors=10", Ok),
            (Server::packet, "max_allowed_packet=1048576", Warning),
            (Server::packet, "max_allowed_packet=16777216", Ok),
        ];
        for (check, variables, severity) in cases {
            let found = check(&server(variables));

            assert_eq!(found.severity, severity, "{variables}: {}", found.detail);
        }
    }

    #[test]
    fn a_clock_may_be_off_by_a_second_and_what_the_answer_took() {
        for (ahead, took, severity) in
            [(900, 0, Ok), (-900, 0, Ok), (1_100, 0, Warning), (-1_100, 0, Warning), (1_100, 400, Ok)]
        {
            let (ahead, answer_time) = (TimeDelta::milliseconds(ahead), TimeDelta::milliseconds(took));

            assert_eq!(Server { ahead, answer_time, ..server("") }.clock().severity, severity, "{ahead} {took}");
        }
    }
}
