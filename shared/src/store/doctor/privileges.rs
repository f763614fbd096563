//! What the user may do, tried: grants come by way of roles, patterns and levels that only the server adds up.

use sqlx::{Executor, MySqlConnection};

use super::{Causes, Check, Finding};
use crate::store::connection::number_of;
use crate::store::{Store, StoreError};

/// What the programs do, done to no row.
const NEEDED: [(&str, &str); 24] = [
    ("select on orders", "select 1 from orders limit 0"),
    (
        "insert on orders",
        "insert into orders (order_id, user_id, item_ids, total_amount) select '', 1, '[]', 1 from dual where false",
    ),
    ("update on orders", "update orders set updated_at = now(6) where false"),
    ("select on workers", "select 1 from workers limit 0"),
    (
        "insert on workers",
        r"
        insert into workers (worker_id, host, pid, version, slots, expires_at)
        select '', '', 0, '', 0, now(6)
        from dual
        where false
        ",
    ),
    ("update on workers", "update workers set heartbeat_at = now(6) where false"),
    ("delete on workers", "delete from workers where false"),
    ("select on claims", "select 1 from claims limit 0"),
    (
        "insert on claims",
        "insert into claims (claim_token, worker_id, order_ids) select '', '', '[]' from dual where false",
    ),
    ("delete on claims", "delete from claims where false"),
    ("select on order_events", "select 1 from order_events limit 0"),
    (
        "insert on order_events",
        "insert into order_events (order_id, event_id, event) select '', '', 'FAILED' from dual where false",
    ),
    ("select on queue_pauses", "select 1 from queue_pauses limit 0"),
    ("insert on queue_pauses", "insert into queue_pauses (pause_id) select 1 from dual where false"),
    ("update on queue_pauses", "update queue_pauses set paused_at = now(6) where false"),
    ("delete on queue_pauses", "delete from queue_pauses where false"),
    ("select on idempotency_keys", "select 1 from idempotency_keys limit 0"),
    (
        "insert on idempotency_keys",
        "insert into idempotency_keys (key_hash, fingerprint, order_ids) select '', '', '' from dual where false",
    ),
    ("delete on idempotency_keys", "delete from idempotency_keys where false"),
    ("select on order_counts", "select 1 from order_counts limit 0"),
    (
        "insert on order_counts",
        r"
        insert into order_counts (shard, pending, processing, completed, failed, canceled, processing_us)
        select 0, 0, 0, 0, 0, 0, 0
        from dual
        where false
        ",
    ),
    ("update on order_counts", "update order_counts set pending = 0 where false"),
    ("select on external_ids", "select 1 from external_ids limit 0"),
    ("insert on external_ids", "insert into external_ids (external_id, order_id) select '', '' from dual where false"),
];

/// What `orders-api migrate` does, done to tables that are not there: the server looks at privileges first.
const FOR_MIGRATIONS: [(&str, &str); 4] = [
    ("create", "create table orders_doctor_no_table like orders_doctor_neither"),
    ("alter", "alter table orders_doctor_no_table add column nothing int"),
    ("index", "create index nothing on orders_doctor_no_table (nothing)"),
    ("drop", "drop table orders_doctor_no_table"),
];

/// The server's numbers for a table, a column and a database that the user may not use so.
const DENIED: [u16; 3] = [1142, 1143, 1044];

/// The numbers for a table that is not there.
const NO_TABLE: [u16; 2] = [1146, 1051];

impl Store {
    pub(super) async fn privileges(&self) -> Finding {
        let check = Check("privileges");
        let (needed, for_migrations) = match self.denied().await {
            Ok(denied) => denied,
            Err(error) => return check.failed(Causes(&error)),
        };
        if !needed.is_empty() {
            check.failed(format!("the user has no {}: grant it", needed.join(", ")))
        } else if !for_migrations.is_empty() {
            check.warning(format!(
                "the user may do all that the programs do, but has no {} on the database: run `orders-api migrate` as \
                 another user",
                for_migrations.join(", ")
            ))
        } else {
            check.ok("the user may do all that the programs and their migrations do")
        }
    }

    async fn denied(&self) -> Result<(Vec<&'static str>, Vec<&'static str>), StoreError> {
        self.call("try what the user may do", async |connection| {
            let denied = (denied(connection, &NEEDED).await?, denied(connection, &FOR_MIGRATIONS).await?);
            Ok(denied)
        })
        .await
    }
}

async fn denied(
    connection: &mut MySqlConnection,
    tries: &[(&'static str, &'static str)],
) -> Result<Vec<&'static str>, sqlx::Error> {
    let mut denied = Vec::new();
    for &(privilege, sql) in tries {
        match connection.execute(sql).await {
            Err(error) if number_of(&error).is_some_and(|number| DENIED.contains(&number)) => denied.push(privilege),
            Err(error) if number_of(&error).is_some_and(|number| NO_TABLE.contains(&number)) => {}
            other => other.map(drop)?,
        }
    }
    Ok(denied)
}
