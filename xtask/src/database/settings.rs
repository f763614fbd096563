//! What a private server is told: its options, its user and its database.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::Result;

use super::own_address::own_address;
use super::program::Maker;
use crate::data_dir::random_password;

/// What the server is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Orders that must outlive a power cut.
    Use,
    /// Orders that would outlive a power cut, and are removed after the measurement.
    Bench,
    /// Many small databases that nobody will miss.
    Tests,
}

impl Purpose {
    /// The database's name.
    pub(super) fn database(self) -> &'static str {
        match self {
            Self::Use | Self::Bench => "orders",
            Self::Tests => "orders_test",
        }
    }

    /// Where the server listens. One for the tests is reached as servers elsewhere are, where this machine has an address
    /// for that: clients over loopback are never shut out.
    pub(super) fn listen_on(self) -> IpAddr {
        match self {
            Self::Use | Self::Bench => Ipv4Addr::LOCALHOST.into(),
            Self::Tests => own_address(),
        }
    }

    /// Whether the server looks up its clients' names, as is its default.
    pub(super) fn name_resolution(self) -> Option<&'static str> {
        match self {
            Self::Use | Self::Bench => Some("--skip-name-resolve"),
            Self::Tests => None,
        }
    }
}

/// Durability is the servers' own default but for MariaDB's binary log.
pub(super) fn options(maker: Maker, purpose: Purpose) -> Vec<&'static str> {
    let durable = ["--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1", "--log-bin=binlog", "--server-id=1"];
    // A day of binary log is enough here, and MariaDB would keep it for ever.
    let bounded = ["--binlog-expire-logs-seconds=86400", "--max-binlog-size=128M", "--max-connections=500"];
    // As large as a server of its own would have at least. The default of 128 MiB does not hold the indexes of ten
    // million orders, so that a figure would tell of the disk.
    let roomy = ["--innodb-buffer-pool-size=1G"];
    let fast = ["--skip-log-bin", "--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0"];
    let mut options = match purpose {
        Purpose::Use => [&durable[..], &bounded].concat(),
        Purpose::Bench => [&durable[..], &bounded, &roomy].concat(),
        Purpose::Tests => [&fast[..], &["--max-connections=2000"]].concat(),
    };
    match (maker, purpose) {
        (Maker::MariaDb, Purpose::Use | Purpose::Bench) => options.push("--binlog-format=ROW"),
        (Maker::MariaDb, Purpose::Tests) => {}
        // The X protocol would take a fixed port of its own. Without writers of the redo log commits wait for 100 ms now
        // and then, and writers that spin take the processor from those that wait for them (docs/SETTINGS.md); older
        // servers have no such options.
        (Maker::MySql, _) => options.extend([
            "--mysqlx=OFF",
            "--loose-innodb-log-writer-threads=ON",
            "--loose-innodb-log-spin-cpu-abs-lwm=4294967295",
        ]),
    }
    options
}

/// SQL that the server runs at each start, before it takes connections: one
/// statement a line.
pub(super) fn setup(purpose: Purpose, password: &str, maker: Maker) -> Result<String> {
    let database = purpose.database();
    let user = match purpose {
        Purpose::Use | Purpose::Bench => "'orders'@'127.0.0.1'",
        // The tests come from another address of this machine.
        Purpose::Tests => "'orders'@'%'",
    };
    let scope = match purpose {
        Purpose::Use => "`orders`.*",
        // A measurement reads the length of the binary log, and leaves it out when it fills a table.
        Purpose::Bench | Purpose::Tests => "*.*",
    };
    let mut lines = vec![
        format!("create database if not exists `{database}` character set utf8mb4;"),
        format!("create user if not exists {user} identified by '{password}';"),
        format!("alter user {user} identified by '{password}';"),
        format!("grant all on {scope} to {user};"),
    ];
    if maker == Maker::MySql {
        // MySQL starts with a root of no password; nobody needs to know this one.
        lines.push(format!("alter user 'root'@'localhost' identified by '{}';", random_password()?));
    }
    lines.push(String::new());
    Ok(lines.join("\n"))
}

/// An options file for the command-line client, which thus need not be told the password.
pub(super) fn client_options(address: SocketAddr, password: &str) -> String {
    let (ip, port) = (address.ip(), address.port());
    format!("[client]\nprotocol=tcp\nhost={ip}\nport={port}\nuser=orders\npassword={password}\n")
}
