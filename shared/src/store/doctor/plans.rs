//! The plans of the statements that run all the time, on the tables as they are.

use std::borrow::Cow;

use chrono::{NaiveDateTime, Utc};
use sqlx::mysql::{MySql, MySqlArguments, MySqlRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection};
use uuid::Uuid;

use self::Value::{Id, Number, Text, Time};
use super::plan::{Plan, Reads, Step};
use super::{Causes, Check, Finding};
use crate::domain::{PageKey, RESCUES_MAX};
use crate::store::orders::events::EVENTS;
use crate::store::orders::external_ids::KNOWN_IDS;
use crate::store::orders::keys::{KNOWN_KEYS, PRUNE};
use crate::store::orders::list::{COUNT_UP_TO, FINAL_AMONG, ONE, WITH_EXTERNAL_ID};
use crate::store::orders::page_sql::{END_OF_USERS_WALK, END_OF_WALK, FULL};
use crate::store::orders::place::PLACED_ALREADY;
use crate::store::queue::claim::{LOCK_DUE, claim};
use crate::store::queue::claims::ORPHANED;
use crate::store::queue::clock::earliest;
use crate::store::queue::complete::complete;
use crate::store::queue::locked::LOCK_CLAIMED;
use crate::store::queue::look::{AHEAD, ANY_DUE, OLDEST_DUE};
use crate::store::queue::settle::{NOTE_SETTLED, SETTLE};
use crate::store::{Store, StoreError};

/// Rows that a statement with a limit is run for: a page's, and few enough to be locked for a moment beside workers.
const LIMIT: u32 = 100;

/// A worker that claims in a plan, and never did.
const NOBODY: Uuid = Uuid::nil();

const ENLIST: &str = r"
    insert into workers (worker_id, host, pid, version, slots, expires_at)
    values (?, 'doctor', 0, '', 0, now(6) + interval 1 minute)
";

/// A statement that runs all the time.
struct Statement {
    check: &'static str,
    sql: Cow<'static, str>,
    values: Vec<Value>,
    plan: Plan,
    /// Rows that it may give; `None` where it is not run, as it changes something or reads by other measures.
    limit: Option<u32>,
}

/// A value for a placeholder.
enum Value {
    None,
    Number(i64),
    Time(NaiveDateTime),
    Id(Uuid),
    Text(&'static str),
}

/// The batch of a statement that takes one. Its size does not change the plan.
const EMPTY: Value = Text("[]");

/// A statement that reads orders by an index, up to [`LIMIT`].
fn by(key: &'static str, check: &'static str, sql: &'static str, values: Vec<Value>) -> Statement {
    let plan = Plan { table: "orders", key, access: &["range", "ref"] };
    Statement { check, sql: sql.into(), values, plan, limit: Some(LIMIT) }
}

fn by_status(check: &'static str, sql: &'static str, values: Vec<Value>) -> Statement {
    by("orders_by_status", check, sql, values)
}

/// A statement that reads a row of `table` for each of a batch.
fn of_batch(check: &'static str, table: &'static str, sql: &'static str) -> Statement {
    let plan = Plan { table, key: "PRIMARY", access: &["eq_ref"] };
    Statement { check, sql: sql.into(), values: vec![EMPTY], plan, limit: None }
}

/// A statement that reads one row of `table` by its whole primary key.
fn of_one(check: &'static str, table: &'static str, sql: &'static str, value: Value) -> Statement {
    let plan = Plan { table, key: "PRIMARY", access: &["const"] };
    Statement { check, sql: sql.into(), values: vec![value], plan, limit: Some(1) }
}

/// A statement whose text holds the ids: two, as one alone would be looked up while the plan is made.
fn of_ids(check: &'static str, sql: String) -> Statement {
    let plan = Plan { table: "orders", key: "PRIMARY", access: &["range"] };
    Statement { check, sql: sql.into(), values: vec![], plan, limit: None }
}

/// Each statement with its values; `sample` is the id of an order, if there is one.
fn statements(sample: Uuid) -> Vec<Statement> {
    let (newest, oldest) = (PageKey::start(), PageKey::end());
    let (now, limit) = (Utc::now().naive_utc(), || Number(LIMIT.into()));
    let since = oldest.created_at.naive_utc();
    let page = |mut values: Vec<Value>| {
        for key in [newest, oldest] {
            let at = key.created_at.naive_utc();
            values.extend([Time(at), Time(at), Id(key.order_id.uuid())]);
        }
        values.push(limit());
        values
    };
    let (token, worker_id, order_ids) = (NOBODY.into(), NOBODY.into(), [sample, NOBODY]);
    let due = vec![Time(earliest()), Number(0), Number(RESCUES_MAX.into()), Id(NOBODY), limit()];
    let completed = || Text("COMPLETED");
    let events = vec![Id(sample), Time(since), Time(since), Id(Uuid::nil()), limit()];
    let ahead = vec![Time(now), Time(now), Time(now), Time(now), Id(oldest.order_id.uuid()), limit()];
    vec![
        by_status("plan: lock due orders", LOCK_DUE, due),
        of_ids("plan: claim orders", claim(token, worker_id, order_ids)),
        of_ids("plan: complete orders", complete(order_ids.map(|order_id| (order_id.into(), token)))),
        of_batch("plan: lock claimed orders", "orders", LOCK_CLAIMED),
        of_batch("plan: note events", "orders", NOTE_SETTLED),
        of_batch("plan: settle orders", "orders", SETTLE),
        Statement {
            plan: Plan { table: "claims", key: "PRIMARY", access: &["range", "index"] },
            values: vec![Id(Uuid::nil()), limit()],
            ..of_batch("plan: find orphans", "claims", ORPHANED)
        },
        by_status(
            "plan: list a status",
            FULL.in_status,
            page(vec![Value::None, Value::None, completed(), completed()]),
        ),
        by("orders_by_time", "plan: list all", FULL.newest, page(vec![Value::None, Value::None])),
        by("orders_by_user", "plan: list a user's", FULL.of_user, page(vec![Value::None, Value::None, Number(1)])),
        by_status("plan: count a few", COUNT_UP_TO, vec![completed(), limit()]),
        of_one("plan: find an external id", "external_ids", WITH_EXTERNAL_ID, Text("")),
        by("orders_by_time", "plan: end a walk", END_OF_WALK, page(vec![])),
        by("orders_by_user", "plan: end a walk of a user's", END_OF_USERS_WALK, page(vec![Number(1)])),
        of_one("plan: read an order", "orders", ONE, Id(sample)),
        Statement {
            plan: Plan { table: "order_events", key: "PRIMARY", access: &["ref", "range"] },
            values: events,
            ..of_batch("plan: read events", "order_events", EVENTS)
        },
        of_batch("plan: see which orders ended", "orders", FINAL_AMONG),
        of_batch("plan: find orders placed already", "orders", PLACED_ALREADY),
        of_batch("plan: find external ids", "external_ids", KNOWN_IDS),
        of_batch("plan: find idempotency keys", "idempotency_keys", KNOWN_KEYS),
        Statement {
            plan: Plan { table: "idempotency_keys", key: "idempotency_keys_by_age", access: &["range"] },
            values: vec![limit()],
            ..of_batch("plan: prune idempotency keys", "idempotency_keys", PRUNE)
        },
        by_status("plan: count orders ahead", AHEAD, ahead),
        Statement { limit: Some(1), ..by_status("plan: find the oldest due", OLDEST_DUE, vec![]) },
        Statement {
            limit: Some(1),
            ..by_status("plan: see whether any is due", ANY_DUE, vec![Time(earliest()), Number(0)])
        },
    ]
}

impl Store {
    pub(super) async fn plans(&self) -> Vec<Finding> {
        let sample = match self.sample().await {
            Ok(sample) => sample,
            Err(error) => return vec![Check("plans").failed(Causes(&error))],
        };
        let mut findings = Vec::new();
        for statement in statements(sample) {
            let check = Check(statement.check);
            let advice = "compare `show create table` with the migrations, and run `analyze table orders`";
            let explained = self.explain(&statement).await;
            let may_be_away = explained.is_err();
            findings.push(match explained.map(|(steps, reads)| statement.plan.compare(&steps, reads)) {
                Ok(Ok(right)) => check.ok(right),
                Ok(Err(wrong)) => check.failed(format!("{wrong}: {advice}")),
                Err(error) => check.failed(format!("{}: {advice}", Causes(&error))),
            });
            if may_be_away && self.ping().await.is_err() {
                break;
            }
        }
        findings
    }

    /// The newest order's id, to be found again; some other id where there is no order.
    async fn sample(&self) -> Result<Uuid, StoreError> {
        self.call("find an order", async |connection| {
            let newest = "select order_id from orders order by order_id desc limit 1";
            let sample = sqlx::query_scalar(newest).fetch_optional(connection).await?;
            Ok(sample.unwrap_or_else(Uuid::now_v7))
        })
        .await
    }

    /// A statement's plan and, where it has a limit, what a run of it read. All is rolled back.
    async fn explain(&self, statement: &Statement) -> Result<(Vec<Step>, Option<Reads>), StoreError> {
        let Statement { sql, values, limit, .. } = statement;
        // Without the word, MySQL tells a plan as a tree.
        let explain = format!("explain format=traditional {sql}");
        self.call("look at a plan", async |connection| {
            let mut transaction = connection.begin().await?;
            // While the queue is paused, a claim reads nothing, and would show no plan.
            transaction.execute("delete from queue_pauses").await?;
            // Nor does it where the worker is not on the list.
            transaction.execute(sqlx::query(ENLIST).bind(NOBODY)).await?;
            let rows = bind(sqlx::query(AssertSqlSafe(explain)), values).fetch_all(&mut *transaction).await?;
            let steps = rows.into_iter().map(Step::try_from).collect::<Result<Vec<_>, _>>()?;
            let reads = match *limit {
                Some(limit) => {
                    let before = reads(&mut transaction).await?;
                    let query = bind(sqlx::query(AssertSqlSafe(sql.as_ref())), values);
                    let _: Vec<MySqlRow> = query.fetch_all(&mut *transaction).await?;
                    let read = reads(&mut transaction).await?.saturating_sub(before);
                    Some(Reads { read, limit: limit.into() })
                }
                None => None,
            };
            transaction.rollback().await?;
            Ok((steps, reads))
        })
        .await
    }
}

fn bind<'q>(query: Query<'q, MySql, MySqlArguments>, values: &'q [Value]) -> Query<'q, MySql, MySqlArguments> {
    values.iter().fold(query, |query, value| match value {
        Value::None => query.bind(None::<i64>),
        Number(number) => query.bind(number),
        Time(time) => query.bind(time),
        Id(id) => query.bind(id),
        Text(text) => query.bind(text),
    })
}

/// Rows and index entries that this session has read so far.
async fn reads(connection: &mut MySqlConnection) -> Result<u64, sqlx::Error> {
    let counters: Vec<(String, String)> =
        sqlx::query_as(r"show session status like 'handler\_read\_%'").fetch_all(connection).await?;
    Ok(counters.iter().filter_map(|(_, count)| count.parse::<u64>().ok()).sum())
}
