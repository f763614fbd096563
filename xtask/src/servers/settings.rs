//! A server's options, users and database.

use std::fmt::Arguments;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::Result;

use crate::addresses::own_address;
use crate::data_dir::random_password;
use crate::output::say;

/// Who makes the server: their options differ a little.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// `mariadbd`.
    MariaDb,
    /// `mysqld`, or MySQL in a container.
    MySql,
}

/// What a server is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Orders that must survive a power cut, and outlive the run.
    Use,
    /// Measurements, as durable as in use. The data goes with the run.
    Bench,
    /// The tests of a run, each on a small database that nobody needs afterwards.
    Tests,
    /// One test, which kills and freezes the server. It is as durable as in use.
    OneTest,
}

impl Purpose {
    /// The user that the run connects as.
    pub(super) fn user(self) -> &'static str {
        if self == Self::Use { "orders" } else { "root" }
    }

    /// Says what happens to a server. A test runs beside others, in whose output this would be lost.
    pub(super) fn say(self, line: Arguments<'_>) {
        if self != Self::OneTest {
            say(line);
        }
    }

    /// Where a server process listens. The tests reach theirs as servers elsewhere are reached, where this machine has
    /// an address for that: a server with name resolution on, as is its default, counts interrupted handshakes of every
    /// client but 127.0.0.1, and at last shuts its host out. Over loopback no test would see that.
    pub(super) fn listen_on(self) -> IpAddr {
        match self {
            Self::Use | Self::Bench => Ipv4Addr::LOCALHOST.into(),
            Self::Tests | Self::OneTest => own_address(),
        }
    }
}

/// The durable settings are the servers' own defaults, except for MariaDB's binary log.
pub(super) fn options(maker: Maker, purpose: Purpose) -> Vec<&'static str> {
    let durable = ["--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1", "--log-bin=binlog", "--server-id=1"];
    // A day of binary log is enough here, and MariaDB would keep it for ever.
    let bounded = ["--binlog-expire-logs-seconds=86400", "--max-binlog-size=128M", "--max-connections=500"];
    let local = ["--skip-name-resolve"];
    // The least that a dedicated server would have. The default of 128 MiB does not hold the indexes of ten million
    // orders, so that figures would measure the disk.
    let roomy = ["--innodb-buffer-pool-size=1G"];
    let fast = ["--skip-log-bin", "--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0"];
    let mut options = match purpose {
        Purpose::Use => [&durable[..], &bounded, &local].concat(),
        Purpose::Bench => [&durable[..], &bounded, &local, &roomy].concat(),
        Purpose::Tests => [&fast[..], &["--max-connections=2000"]].concat(),
        Purpose::OneTest => durable.to_vec(),
    };
    match maker {
        Maker::MariaDb if purpose == Purpose::Tests => {}
        Maker::MariaDb => options.push("--binlog-format=ROW"),
        // The X protocol would take a fixed port of its own. Without writers of the redo log commits wait for 100 ms
        // now and then, and writers that spin take the processor from those that wait for them (docs/SETTINGS.md);
        // older servers have no such options.
        Maker::MySql => options.extend([
            "--mysqlx=OFF",
            "--loose-innodb-log-writer-threads=ON",
            "--loose-innodb-log-spin-cpu-abs-lwm=4294967295",
        ]),
    }
    options
}

/// SQL that a server process runs at each start, before it takes connections: one statement a line.
pub(super) fn setup(purpose: Purpose, password: &str, maker: Maker) -> Result<String> {
    let users: &[_] = match purpose {
        Purpose::Use => &[("'orders'@'127.0.0.1'", "`orders`.*", "")],
        // A measurement reads the length of the binary log, and leaves it out when it fills a table. A server that
        // resolves names takes a client over loopback for one of `localhost`.
        _ => &[
            ("'root'@'%'", "*.*", "with grant option"),
            ("'root'@'localhost'", "*.*", "with grant option"),
            ("'orders'@'%'", "`orders`.*", ""),
        ],
    };
    let mut lines = vec!["create database if not exists `orders` character set utf8mb4;".to_owned()];
    if maker == Maker::MySql && purpose == Purpose::Use {
        // MySQL's root has no password at first. Nobody needs to know this one.
        lines.push(format!("alter user 'root'@'localhost' identified by '{}';", random_password()?));
    }
    for (user, scope, option) in users {
        lines.extend([
            format!("create user if not exists {user} identified by '{password}';"),
            format!("alter user {user} identified by '{password}';"),
            format!("grant all on {scope} to {user} {option};"),
        ]);
    }
    lines.push(String::new());
    Ok(lines.join("\n"))
}

/// An options file for the command-line client, so that the password need not be typed.
pub(super) fn client_options(address: SocketAddr, password: &str, user: &str) -> String {
    let (ip, port) = (address.ip(), address.port());
    format!("[client]\nprotocol=tcp\nhost={ip}\nport={port}\nuser={user}\npassword={password}\n")
}
