//! What became of each order, as the database itself saw it, and whether it may have become so.

mod change;
mod check;
mod rules;
#[cfg(test)]
mod tests;

use sqlx::MySqlPool;
use uuid::Uuid;

pub use self::change::{Change, Status};
pub use self::check::check;
pub use self::rules::{Rule, Summary, Violation};

/// Column by column what [`Change`] is.
const TABLE: &str = "
    create table order_changes (
        seq bigint not null auto_increment primary key,
        order_id binary(16) not null,
        old_status varchar(10),
        new_status varchar(10) not null,
        old_token binary(16),
        new_token binary(16),
        worker_id binary(16),
        attempt smallint unsigned not null,
        rescues tinyint unsigned not null,
        at datetime(6) not null default current_timestamp(6)
    ) engine = InnoDB
";

const ON_INSERT: &str = "
    create trigger order_is_placed after insert on orders for each row
    insert into order_changes (order_id, new_status, new_token, worker_id, attempt, rescues)
    values (
        new.order_id, new.status, if(new.status = 'PROCESSING', new.claim_token, null),
        nullif(new.worker_id, repeat('\\0', 16)), new.attempt, new.rescues
    )
";

const ON_UPDATE: &str = "
    create trigger order_changes after update on orders for each row
    if new.status <> old.status or new.claim_token <> old.claim_token then
        insert into order_changes
            (order_id, old_status, new_status, old_token, new_token, worker_id, attempt, rescues)
        values
            (new.order_id, old.status, new.status, if(old.status = 'PROCESSING', old.claim_token, null),
             if(new.status = 'PROCESSING', new.claim_token, null), nullif(new.worker_id, repeat('\\0', 16)),
             new.attempt, new.rescues);
    end if
";

const READ: &str = "
    select seq, order_id, old_status, new_status, old_token, new_token, worker_id, attempt, rescues, at
    from order_changes
    order by seq
";

/// Every change of an order's status or claim, written down by triggers in the transaction that made the change: it is
/// there exactly if the change took effect, and in the order in which one order's changes did.
#[derive(Debug)]
pub struct History;

impl History {
    /// Writes down from now on what becomes of the orders in a database of the test's own; `pool` needs the right to
    /// create triggers.
    pub async fn record(pool: &MySqlPool) {
        for sql in [TABLE, ON_INSERT, ON_UPDATE] {
            sqlx::raw_sql(sql).execute(pool).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
    }

    /// All that was written down.
    pub async fn read(pool: &MySqlPool) -> Vec<Change> {
        sqlx::query_as(READ).fetch_all(pool).await.expect("the history can be read")
    }

    /// What happened, if no rule is broken; `accepted` and `unanswered` are those of [`check`].
    pub async fn assert_is_sound(pool: &MySqlPool, accepted: &[Uuid], unanswered: usize) -> Summary {
        check(&Self::read(pool).await, accepted, unanswered)
            .unwrap_or_else(|violations| panic!("{} orders: {violations:#?}", violations.len()))
    }
}
