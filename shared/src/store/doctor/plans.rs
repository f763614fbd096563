//! The plans of the statements that run all the time, on the tables as they are.

use std::borrow::Cow;

use chrono::{NaiveDateTime, Utc};
use sqlx::mysql::{MySql, MySqlArguments, MySqlRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection};
use uuid::Uuid;

use super::judge::{Hot, Reads, Step, judge};
use super::{Causes, Check, Finding};
use crate::domain::{PageKey, RESCUES_MAX};
use crate::store::orders::ended::ENDED;
use crate::store::orders::events::EVENTS;
use crate::store::orders::external_ids::TAKEN;
use crate::store::orders::keys::{PRUNE, USED};
use crate::store::orders::list::{COUNT_UP_TO, ONE, WITH_EXTERNAL_ID};
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
const JUDGE: Uuid = Uuid::nil();

const ENLIST: &str = r"
    insert into workers (worker_id, host, pid, version, slots, expires_at)
    values (?, 'doctor', 0, '', 0, now(6) + interval 1 minute)
";

/// A value for a placeholder.
enum Value {
    None,
    Number(i64),
    Limit(u32),
    Time(NaiveDateTime),
    Id(Uuid),
    Text(&'static str),
}

/// The batch of a statement that takes one. Its size does not change the plan.
const EMPTY: Value = Value::Text("[]");

const BY_STATUS: Hot = Hot {
    check: "",
    sql: Cow::Borrowed(""),
    table: "orders",
    key: "orders_by_status",
    access: &["range", "ref"],
    limit: Some(LIMIT),
};

const BY_ID: Hot = Hot { key: "PRIMARY", access: &["eq_ref"], limit: None, ..BY_STATUS };

/// Each statement with its values; `sample` is the id of an order, if there is one.
fn statements(sample: Uuid) -> Vec<(Hot, Vec<Value>)> {
    let now = || Value::Time(Utc::now().naive_utc());
    let (first, last) = (PageKey::start(), PageKey::end());
    let user_id = || Value::Number(1);
    let page = |mut values: Vec<Value>, limit| {
        for place in [first, last] {
            let time = || Value::Time(place.created_at.naive_utc());
            values.extend([time(), time(), Value::Id(place.order_id.uuid())]);
        }
        values.push(limit);
        values
    };
    let limit = || Value::Limit(LIMIT);
    let oldest = || Value::Time(last.created_at.naive_utc());
    let by_status = |check, sql| Hot { check, sql: Cow::Borrowed(sql), ..BY_STATUS };
    let by_time = |check, sql| Hot { key: "orders_by_time", ..by_status(check, sql) };
    let by_user = |check, sql| Hot { key: "orders_by_user", ..by_status(check, sql) };
    let by_id = |check, sql| Hot { check, sql: Cow::Borrowed(sql), ..BY_ID };
    // One id alone would be looked up while the plan is made.
    let of_ids = |check, sql: String| Hot { check, sql: sql.into(), access: &["range"], ..BY_ID };
    let (token, worker_id, order_ids) = (JUDGE.into(), JUDGE.into(), [sample, JUDGE]);
    vec![
        (
            by_status("plan: lock due orders", LOCK_DUE),
            vec![
                Value::Time(earliest()),
                Value::Number(0),
                Value::Limit(u32::from(RESCUES_MAX)),
                Value::Id(JUDGE),
                limit(),
            ],
        ),
        (of_ids("plan: claim orders", claim(token, worker_id, order_ids)), vec![]),
        (of_ids("plan: complete orders", complete(order_ids.map(|order_id| (order_id.into(), token)))), vec![]),
        (by_id("plan: lock held orders", LOCK_CLAIMED), vec![EMPTY]),
        (by_id("plan: note events", NOTE_SETTLED), vec![EMPTY]),
        (by_id("plan: leave PROCESSING", SETTLE), vec![EMPTY]),
        (
            Hot { table: "claims", access: &["range", "index"], ..by_id("plan: find orphans", ORPHANED) },
            vec![Value::Id(Uuid::nil()), limit()],
        ),
        (
            by_status("plan: list a status", FULL.in_status),
            page(vec![Value::None, Value::None, Value::Text("COMPLETED"), Value::Text("COMPLETED")], limit()),
        ),
        (by_time("plan: list all", FULL.newest), page(vec![Value::None, Value::None], limit())),
        (by_user("plan: list a user's", FULL.of_user), page(vec![Value::None, Value::None, user_id()], limit())),
        (by_status("plan: count a few", COUNT_UP_TO), vec![Value::Text("COMPLETED"), limit()]),
        (
            Hot {
                table: "external_ids",
                access: &["const"],
                limit: Some(1),
                ..by_id("plan: find an external id", WITH_EXTERNAL_ID)
            },
            vec![Value::Text("")],
        ),
        (by_time("plan: end a walk", END_OF_WALK), page(vec![], limit())),
        (by_user("plan: end a walk of a user's", END_OF_USERS_WALK), page(vec![user_id()], limit())),
        (Hot { access: &["const"], limit: Some(1), ..by_id("plan: read an order", ONE) }, vec![Value::Id(sample)]),
        (
            Hot { table: "order_events", access: &["ref", "range"], ..by_id("plan: read events", EVENTS) },
            vec![Value::Id(sample), oldest(), oldest(), Value::Id(Uuid::nil()), limit()],
        ),
        (by_id("plan: see which orders ended", ENDED), vec![EMPTY]),
        (by_id("plan: find orders placed already", PLACED_ALREADY), vec![EMPTY]),
        (Hot { table: "external_ids", ..by_id("plan: find external ids", TAKEN) }, vec![EMPTY]),
        (Hot { table: "idempotency_keys", ..by_id("plan: find idempotency keys", USED) }, vec![EMPTY]),
        (
            Hot {
                table: "idempotency_keys",
                key: "idempotency_keys_by_age",
                access: &["range"],
                ..by_id("plan: prune idempotency keys", PRUNE)
            },
            vec![limit()],
        ),
        (
            by_status("plan: count orders ahead", AHEAD),
            vec![now(), now(), now(), now(), Value::Id(last.order_id.uuid()), limit()],
        ),
        (Hot { limit: Some(1), ..by_status("plan: find the oldest due", OLDEST_DUE) }, vec![]),
        (
            Hot { limit: Some(1), ..by_status("plan: see whether any is due", ANY_DUE) },
            vec![Value::Time(earliest()), Value::Number(0)],
        ),
    ]
}

impl Store {
    pub(super) async fn plans(&self) -> Vec<Finding> {
        let sample = match self.sample().await {
            Ok(sample) => sample,
            Err(error) => return vec![Check("plans").failed(Causes(&error))],
        };
        let mut findings = Vec::new();
        for (hot, values) in statements(sample) {
            let check = Check(hot.check);
            let advice = "compare `show create table` with the migrations, and run `analyze table orders`";
            findings.push(match self.plan(&hot, &values).await {
                Ok((steps, reads)) => match judge(&hot, &steps, reads) {
                    Ok(right) => check.ok(right),
                    Err(wrong) => check.failed(format!("{wrong}: {advice}")),
                },
                Err(error) => {
                    findings.push(check.failed(format!("{}: {advice}", Causes(&error))));
                    if self.ping().await.is_err() {
                        break;
                    }
                    continue;
                }
            });
        }
        findings
    }

    /// The newest order's id, to be found again; some other id where there is no order.
    async fn sample(&self) -> Result<Uuid, StoreError> {
        self.call("find an order", async |connection| {
            let newest = "select order_id from orders order by order_id desc limit 1";
            let sample = sqlx::query_scalar(newest).fetch_optional(&mut *connection).await?;
            Ok(sample.unwrap_or_else(Uuid::now_v7))
        })
        .await
    }

    /// A statement's plan and, where it has a limit, what a run of it read. All is rolled back.
    async fn plan(&self, hot: &Hot, values: &[Value]) -> Result<(Vec<Step>, Option<Reads>), StoreError> {
        // Without the word, MySQL tells a plan as a tree.
        let explain = format!("explain format=traditional {}", hot.sql);
        self.call("look at a plan", async |connection| {
            let mut transaction = connection.begin().await?;
            // While the queue is paused, a claim reads nothing, and would show no plan.
            transaction.execute("delete from queue_pauses").await?;
            // Nor does it where the worker is not on the list.
            transaction.execute(sqlx::query(ENLIST).bind(JUDGE)).await?;
            let rows = bind(sqlx::query(AssertSqlSafe(explain)), values).fetch_all(&mut *transaction).await?;
            let steps = rows.into_iter().map(Step::try_from).collect::<Result<Vec<_>, _>>()?;
            let reads = match hot.limit {
                Some(limit) => {
                    let before = reads(&mut transaction).await?;
                    let _: Vec<MySqlRow> =
                        bind(sqlx::query(AssertSqlSafe(hot.sql.as_ref())), values).fetch_all(&mut *transaction).await?;
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
        Value::Number(number) => query.bind(number),
        Value::Limit(limit) => query.bind(limit),
        Value::Time(time) => query.bind(time),
        Value::Id(id) => query.bind(id),
        Value::Text(text) => query.bind(text),
    })
}

/// Rows and index entries that this session has read so far.
async fn reads(connection: &mut MySqlConnection) -> Result<u64, sqlx::Error> {
    let counters: Vec<(String, String)> =
        sqlx::query_as(r"show session status like 'handler\_read\_%'").fetch_all(connection).await?;
    Ok(counters.iter().filter_map(|(_, count)| count.parse::<u64>().ok()).sum())
}
