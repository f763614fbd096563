//! Tries what the user may do: only the server can add up grants by roles, patterns and levels.

use sqlx::{AssertSqlSafe, Executor, MySqlConnection};

use super::{Check, Finding};
use crate::store::connection::number_of;
use crate::store::{Store, StoreError};

/// What the programs do with a table, apart from reading and inserting.
struct Table {
    name: &'static str,
    /// The columns that have no default, and values for them.
    columns: &'static str,
    values: &'static str,
    update: Option<&'static str>,
    is_deleted_from: bool,
}

const fn table(
    name: &'static str,
    [columns, values]: [&'static str; 2],
    update: Option<&'static str>,
    is_deleted_from: bool,
) -> Table {
    Table { name, columns, values, update, is_deleted_from }
}

const TABLES: [Table; 11] = [
    table(
        "orders",
        ["order_id, user_id, item_ids, total_amount", "'', 1, '[]', 1"],
        Some("updated_at = now(6)"),
        false,
    ),
    table(
        "workers",
        ["worker_id, host, pid, version, slots, expires_at", "'', '', 0, '', 0, now(6)"],
        Some("heartbeat_at = now(6)"),
        true,
    ),
    table("leases", ["chore, worker_id", "'', ''"], Some("taken_at = now(6)"), false),
    table("claims", ["claim_token, worker_id, order_ids", "'', '', '[]'"], None, true),
    table("order_events", ["order_id, event_id, event", "'', '', 1"], None, true),
    table("order_results", ["order_id, result", "'', ''"], None, false),
    table("order_outages", ["order_id, since, times, last_at, last_event_id", "'', now(6), 1, now(6), ''"], None, true),
    table("queue_pauses", ["pause_id", "1"], Some("paused_at = now(6)"), true),
    table("idempotency_keys", ["key_hash, fingerprint, order_ids", "'', '', ''"], None, true),
    table(
        "order_counts",
        ["shard, pending, processing, completed, failed, canceled, processing_us", "0, 0, 0, 0, 0, 0, 0"],
        Some("pending = 0"),
        false,
    ),
    table("external_ids", ["external_id, order_id", "'', ''"], None, false),
];

/// What `orders-api migrate` does, tried on tables that do not exist: the server checks privileges first.
const FOR_MIGRATIONS: [(&str, &str); 4] = [
    ("create", "create table orders_doctor_no_table like orders_doctor_neither"),
    ("alter", "alter table orders_doctor_no_table add column nothing int"),
    ("index", "create index nothing on orders_doctor_no_table (nothing)"),
    ("drop", "drop table orders_doctor_no_table"),
];

/// The server's error numbers if the user lacks a privilege on a table, a column or a database.
const DENIED: [u16; 3] = [1142, 1143, 1044];

/// The error numbers for a missing table.
const NO_TABLE: [u16; 2] = [1146, 1051];

impl Table {
    /// Each privilege on the table, with a statement that needs it but touches no row.
    fn tries(&self) -> Vec<(String, String)> {
        let Self { name, columns, values, update, is_deleted_from } = self;
        let mut tries = vec![
            ("select", format!("select 1 from {name} limit 0")),
            ("insert", format!("insert into {name} ({columns}) select {values} from dual where false")),
        ];
        tries.extend(update.map(|update| ("update", format!("update {name} set {update} where false"))));
        tries.extend(is_deleted_from.then(|| ("delete", format!("delete from {name} where false"))));
        tries.into_iter().map(|(privilege, sql)| (format!("{privilege} on {name}"), sql)).collect()
    }
}

impl Store {
    pub(super) async fn privileges(&self) -> Finding {
        let check = Check("privileges");
        check.of(self.denied().await, |[needed, for_migrations]| {
            if !needed.is_empty() {
                check.failed(format!("the user has no {}: grant it", needed.join(", ")))
            } else if !for_migrations.is_empty() {
                check.warning(format!(
                    "the user may do all that the programs do, but has no {} on the database: run `orders-api migrate` \
                     as another user",
                    for_migrations.join(", ")
                ))
            } else {
                check.ok("the user may do all that the programs and their migrations do")
            }
        })
    }

    async fn denied(&self) -> Result<[Vec<String>; 2], StoreError> {
        self.call("try what the user may do", async |connection| {
            let needed = TABLES.iter().flat_map(Table::tries);
            let for_migrations = FOR_MIGRATIONS.iter().map(|(privilege, sql)| ((*privilege).into(), (*sql).into()));
            Ok([denied(connection, needed.collect()).await?, denied(connection, for_migrations.collect()).await?])
        })
        .await
    }
}

async fn denied(connection: &mut MySqlConnection, tries: Vec<(String, String)>) -> Result<Vec<String>, sqlx::Error> {
    let mut denied = Vec::new();
    for (privilege, sql) in tries {
        match connection.execute(AssertSqlSafe(sql)).await {
            Err(error) if number_of(&error).is_some_and(|number| DENIED.contains(&number)) => denied.push(privilege),
            Err(error) if number_of(&error).is_some_and(|number| NO_TABLE.contains(&number)) => {}
            other => other.map(drop)?,
        }
    }
    Ok(denied)
}
