//! The plans of the hot statements, on the tables as they are.

use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection};
use uuid::Uuid;

use super::plan::{Reads, Step, compare};
use super::{Causes, Check, Finding};
use crate::store::hot::Hot;
use crate::store::orders::{events, external_ids, keys, list, page_sql, place};
use crate::store::queue::{claim, claims, complete, locked, look, outages, settle};
use crate::store::sql::Value;
use crate::store::{Store, StoreError};

/// Inserts the worker that hot statements name: a claim reads nothing for a worker without a row.
const ENLIST: &str = r"
    insert into workers (worker_id, host, pid, version, slots, expires_at)
    values (?, 'doctor', 0, '', 0, now(6) + interval 1 minute)
";

const ADVICE: &str = "compare `show create table` with the migrations, and run `analyze table orders`";

/// Every hot statement; `sample` is the id of an order, if there is one.
fn hot_statements(sample: Uuid) -> Vec<Hot> {
    let of_files = [
        claim::hot_statements(sample),
        complete::hot_statements(sample),
        locked::hot_statements(),
        outages::hot_statements(),
        settle::hot_statements(),
        claims::hot_statements(),
        look::hot_statements(),
        page_sql::hot_statements(),
        list::hot_statements(sample),
        events::hot_statements(sample),
        place::hot_statements(),
        external_ids::hot_statements(),
        keys::hot_statements(),
    ];
    of_files.into_iter().flatten().collect()
}

impl Store {
    /// One finding if every plan is right, else one for each that is wrong.
    pub(super) async fn plans(&self) -> Vec<Finding> {
        let check = Check("plan");
        let sample = match self.sample().await {
            Ok(sample) => sample,
            Err(error) => return vec![check.failed(Causes(&error))],
        };
        let statements = hot_statements(sample);
        let mut wrong = Vec::new();
        for hot in &statements {
            let explained = self.explain(hot).await;
            let may_be_away = explained.is_err();
            let compared = explained.map_err(|error| Causes(&error).to_string());
            if let Err(why) = compared.and_then(|(steps, reads)| compare(hot.plan, &steps, reads)) {
                wrong.push(check.failed(format!("{}: {why}: {ADVICE}", hot.name)));
            }
            if may_be_away && self.ping().await.is_err() {
                break;
            }
        }
        if wrong.is_empty() {
            wrong.push(check.ok(format!("all {} hot statements are served by their indexes", statements.len())));
        }
        wrong
    }

    /// The id of the newest order, to be found again; some other id if there is no order.
    async fn sample(&self) -> Result<Uuid, StoreError> {
        self.call("find an order", async |connection| {
            let newest = "select order_id from orders order by order_id desc limit 1";
            let sample = sqlx::query_scalar(newest).fetch_optional(connection).await?;
            Ok(sample.unwrap_or_else(Uuid::now_v7))
        })
        .await
    }

    /// A statement's plan and, if it has a limit, what it reads when it is run. All is rolled back.
    async fn explain(&self, Hot { sql, values, limit, .. }: &Hot) -> Result<(Vec<Step>, Option<Reads>), StoreError> {
        // Without the format, MySQL may show the plan as a tree.
        let explain = AssertSqlSafe(format!("explain format=traditional {sql}"));
        self.call("look at a plan", async |connection| {
            let mut transaction = connection.begin().await?;
            // While the queue is paused, a claim reads nothing, and would show no plan.
            transaction.execute("delete from queue_pauses").await?;
            transaction.execute(sqlx::query(ENLIST).bind(Uuid::nil())).await?;
            let rows = sqlx::query_with(explain, Value::bind(values)?).fetch_all(&mut *transaction).await?;
            let steps = rows.into_iter().map(Step::try_from).collect::<Result<Vec<_>, _>>()?;
            let reads = match *limit {
                Some(limit) => {
                    let before = reads(&mut transaction).await?;
                    let query = sqlx::query_with(AssertSqlSafe(sql.as_ref()), Value::bind(values)?);
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

/// Rows and index entries that this session has read so far.
async fn reads(connection: &mut MySqlConnection) -> Result<u64, sqlx::Error> {
    let counters: Vec<(String, String)> =
        sqlx::query_as(r"show session status like 'handler\_read\_%'").fetch_all(connection).await?;
    Ok(counters.iter().filter_map(|(_, count)| count.parse::<u64>().ok()).sum())
}
