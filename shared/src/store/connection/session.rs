//! How every session of ours is set. What our statements mean, and how long they may take, must not depend on the
//! defaults of a server, which an administrator may change for good reasons of his own.

use std::fmt::Write;

use sqlx::{Executor, MySqlConnection};

/// Locking reads of REPEATABLE READ would lock the place where new orders arrive.
const ISOLATION: &str = "set session transaction isolation level read committed, read write";

/// A variable that we set for each session.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Pinned {
    pub(in crate::store) name: &'static str,
    /// As SET takes it.
    value: &'static str,
    /// As SHOW VARIABLES tells it.
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

/// Every variable whose value matters.
///
/// The limits are shorter than ours ([`super::call`]): a server does not notice that we hung up while a statement waits,
/// so that each call which we gave up would leave a session behind.
pub(in crate::store) const PINNED: &[Pinned] = &[
    // Ours commits what is one statement, and says where a transaction begins and ends.
    both("autocommit", "1", "ON"),
    both("completion_type", "'NO_CHAIN'", "NO_CHAIN"),
    // A value that does not fit is an error, not a shorter value; and texts are quoted as SQL of ours is.
    both("sql_mode", "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'", "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION"),
    // What our statements may read and change is bounded by themselves.
    both("sql_safe_updates", "0", "OFF"),
    both("sql_select_limit", "18446744073709551615", "18446744073709551615"),
    both("sql_big_selects", "1", "ON"),
    both("sql_auto_is_null", "0", "OFF"),
    // MariaDB cuts aggregated JSON there: the ids of the largest claim have 18 kB.
    both("group_concat_max_len", "1048576", "1048576"),
    both("foreign_key_checks", "1", "ON"),
    both("unique_checks", "1", "ON"),
    Pinned { name: "check_constraint_checks", value: "1", shown: "ON", known_to: KnownTo::MariaDb },
    both("default_storage_engine", "'InnoDB'", "InnoDB"),
    both("time_zone", "'+00:00'", "+00:00"),
    // A list of ids would be read by a scan of the whole table, and lock it.
    Pinned { name: "range_optimizer_max_mem_size", value: "0", shown: "0", known_to: KnownTo::MySql },
    // A client machine that lost its power says no goodbye: the server ends its session after this silence, and with it
    // the locks of a claim that was cut in the middle.
    both("wait_timeout", "20", "20"),
    both("net_read_timeout", "20", "20"),
    both("net_write_timeout", "20", "20"),
    // A lock that is held for longer is held by somebody who is gone, or by an administrator: better a retry than a wait.
    both("lock_wait_timeout", "3", "3"),
    both("innodb_lock_wait_timeout", "3", "3"),
    // MySQL knows a limit for reads only; its writes wait for locks alone.
    Pinned { name: "max_execution_time", value: "4000", shown: "4000", known_to: KnownTo::MySql },
    Pinned { name: "max_statement_time", value: "4", shown: "4.000000", known_to: KnownTo::MariaDb },
];

/// For migrations, which take as long as they take.
const UNLIMITED: &[Pinned] = &[
    both("wait_timeout", "28800", "28800"),
    both("net_read_timeout", "600", "600"),
    both("net_write_timeout", "600", "600"),
    both("lock_wait_timeout", "60", "60"),
    both("innodb_lock_wait_timeout", "60", "60"),
    Pinned { name: "max_execution_time", value: "0", shown: "0", known_to: KnownTo::MySql },
    Pinned { name: "max_statement_time", value: "0", shown: "0.000000", known_to: KnownTo::MariaDb },
];

/// For what reads all orders: shorter than our own limit, which is ten minutes.
const FULL_COUNT: &[Pinned] = &[
    both("wait_timeout", "600", "600"),
    Pinned { name: "max_execution_time", value: "590000", shown: "590000", known_to: KnownTo::MySql },
    Pinned { name: "max_statement_time", value: "590", shown: "590.000000", known_to: KnownTo::MariaDb },
];

/// What a session is for whose statements take long by nature.
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

/// Lets a session take its time.
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

/// One statement for both servers: each passes over the comments that are for the other.
fn statement(variables: &[Pinned]) -> String {
    // Each assignment that not both servers know has its comma inside its comment, behind one that both know.
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

/// Whether a session's variable is as we set it; flags may come in another order.
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
