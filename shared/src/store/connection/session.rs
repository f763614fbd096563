//! The variables of our sessions. The meaning of our statements, and how long they may take, must not depend on a
//! server's defaults, which an administrator may change for good reasons.

use std::fmt::Write;

use sqlx::{Executor, MySqlConnection};

/// Locking reads of REPEATABLE READ would lock the gap where new orders arrive.
const ISOLATION: &str = "set session transaction isolation level read committed, read write";

/// A variable that we set for each session.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Pinned {
    pub(in crate::store) name: &'static str,
    /// As SET takes it.
    value: &'static str,
    /// As SHOW VARIABLES prints it.
    pub(in crate::store) shown: &'static str,
    known_to: KnownTo,
}

/// Which servers have a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KnownTo {
    Both,
    MySql,
    MariaDb,
}

const fn both(name: &'static str, value: &'static str, shown: &'static str) -> Pinned {
    Pinned { name, value, shown, known_to: KnownTo::Both }
}

/// Every variable whose value matters to us.
///
/// The limits are shorter than our own ([`super::call`]): while a statement waits, a server does not notice that we
/// hung up, so each call that we gave up would leave a session behind.
pub(in crate::store) const PINNED: &[Pinned] = &[
    // Our single statements commit themselves; our transactions begin and end explicitly.
    both("autocommit", "1", "ON"),
    both("completion_type", "'NO_CHAIN'", "NO_CHAIN"),
    // A value that does not fit is an error and is not cut, and quotes mean what our SQL takes them to mean.
    both("sql_mode", "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'", "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION"),
    // Our statements bound by themselves how much they read and change.
    both("sql_safe_updates", "0", "OFF"),
    both("sql_select_limit", "18446744073709551615", "18446744073709551615"),
    both("sql_big_selects", "1", "ON"),
    both("sql_auto_is_null", "0", "OFF"),
    // MariaDB cuts aggregated JSON at this length: the ids of the largest claim have 18 kB.
    both("group_concat_max_len", "1048576", "1048576"),
    both("foreign_key_checks", "1", "ON"),
    both("unique_checks", "1", "ON"),
    Pinned { name: "check_constraint_checks", value: "1", shown: "ON", known_to: KnownTo::MariaDb },
    both("default_storage_engine", "'InnoDB'", "InnoDB"),
    both("time_zone", "'+00:00'", "+00:00"),
    // With a limit, the server may read a long list of ids by a scan of the whole table, and lock all of it.
    Pinned { name: "range_optimizer_max_mem_size", value: "0", shown: "0", known_to: KnownTo::MySql },
    // A client machine that loses power does not say goodbye. After this silence the server ends its session, and
    // releases the locks of an unfinished claim.
    both("wait_timeout", "20", "20"),
    both("net_read_timeout", "20", "20"),
    both("net_write_timeout", "20", "20"),
    // A lock that is held for longer belongs to a client that is gone, or to an administrator: rather retry than wait.
    both("lock_wait_timeout", "3", "3"),
    both("innodb_lock_wait_timeout", "3", "3"),
    // MySQL limits reads only; of its writes only the wait for locks is limited.
    Pinned { name: "max_execution_time", value: "4000", shown: "4000", known_to: KnownTo::MySql },
    Pinned { name: "max_statement_time", value: "4", shown: "4.000000", known_to: KnownTo::MariaDb },
];

/// For migrations, which may take hours.
const UNLIMITED: &[Pinned] = &[
    both("wait_timeout", "28800", "28800"),
    both("net_read_timeout", "600", "600"),
    both("net_write_timeout", "600", "600"),
    both("lock_wait_timeout", "60", "60"),
    both("innodb_lock_wait_timeout", "60", "60"),
    Pinned { name: "max_execution_time", value: "0", shown: "0", known_to: KnownTo::MySql },
    Pinned { name: "max_statement_time", value: "0", shown: "0.000000", known_to: KnownTo::MariaDb },
];

/// For statements that read all orders: shorter than our own limit, which is ten minutes.
const FULL_COUNT: &[Pinned] = &[
    both("wait_timeout", "600", "600"),
    Pinned { name: "max_execution_time", value: "590000", shown: "590000", known_to: KnownTo::MySql },
    Pinned { name: "max_statement_time", value: "590", shown: "590.000000", known_to: KnownTo::MariaDb },
];

/// The use of a session whose statements take long by nature.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) enum Long {
    Migration,
    FullCount,
}

/// Sets a new session.
pub(super) async fn pin(connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
    connection.execute(ISOLATION).await?;
    set(connection, PINNED).await
}

/// Gives the statements of a session more time.
pub(super) async fn lengthen(connection: &mut MySqlConnection, long: Long) -> Result<(), sqlx::Error> {
    let limits = match long {
        Long::Migration => UNLIMITED,
        Long::FullCount => FULL_COUNT,
    };
    set(connection, limits).await
}

async fn set(connection: &mut MySqlConnection, variables: &[Pinned]) -> Result<(), sqlx::Error> {
    connection.execute(sqlx::AssertSqlSafe(statement(variables))).await.map(drop)
}

/// One statement for both servers: each skips the comments that are meant for the other.
fn statement(variables: &[Pinned]) -> String {
    // If only one server knows a variable, its comma is inside the comment; so the list begins with one that both know.
    let mut sql = "set session autocommit = 1".to_owned();
    for Pinned { name, value, known_to, .. } in variables {
        // Writing to a String cannot fail.
        let _ = match known_to {
            KnownTo::Both => write!(sql, ", {name} = {value}"),
            KnownTo::MySql => write!(sql, " /*!80000 , {name} = {value} */"),
            KnownTo::MariaDb => write!(sql, " /*M! , {name} = {value} */"),
        };
    }
    sql
}

/// Whether a session's variable has the value that we set; flags may come in another order.
pub(in crate::store) fn is_as_pinned(pinned: &Pinned, shown: &str) -> bool {
    let flags = |text: &str| {
        let mut flags: Vec<_> = text.split(',').map(str::to_ascii_uppercase).collect();
        flags.sort_unstable();
        flags
    };
    flags(pinned.shown) == flags(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_server_alone_knows_stands_in_a_comment_for_it() {
        let sql = statement(PINNED);

        assert!(sql.contains(" /*!80000 , max_execution_time = 4000 */"), "{sql}");
        assert!(sql.contains(" /*M! , max_statement_time = 4 */"), "{sql}");
        assert!(sql.contains(", innodb_lock_wait_timeout = 3"), "{sql}");
    }

    #[test]
    fn flags_may_come_in_another_order_and_case() {
        let mode = PINNED.iter().find(|pinned| pinned.name == "sql_mode").unwrap();

        assert!(is_as_pinned(mode, "NO_ENGINE_SUBSTITUTION,STRICT_ALL_TABLES"));
        assert!(!is_as_pinned(mode, "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ANSI_QUOTES"));
    }
}
