//! Scripts: several statements in one message, which take one round trip to the server. And the values of statements.
//!
//! They are text, and not prepared. A value in them is a number or one of the literals of this module, whose characters
//! cannot end it: hexadecimal digits, those of a time, those of a list of numbers.
//!
//! What happens to every order travels so. A batch is placed by one message of five statements; a claim takes three
//! messages, since what it may take is known only once it is locked, and a completion two, since it is counted only if
//! every claim held. Both name their orders in a list of ids, so that an update reads each row once: joined with a
//! list, it would keep the rows in a temporary table and read them again.
//!
//! What is rare travels as JSON: a batch of any size is one parameter, unpacked by `json_table`, so that the server
//! prepares each such statement once, not once for each size of batch.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};
use futures_util::TryStreamExt;
use sqlx::mysql::{MySqlArguments, MySqlRow};
use sqlx::{Arguments, AssertSqlSafe, Connection, Either, MySqlConnection, Row};
use uuid::Uuid;

use crate::domain::OrderId;

/// From this size of a script on, the driver frees its copy. Otherwise each connection keeps room for the largest
/// statement that it ever sent, which saves work for small ones.
const LARGE: usize = 64 << 10;

/// "Never": when an order is due that does not wait, or was claimed that never was. It is not null, so that a row keeps
/// its size, and is changed in place, when its order is claimed and completed.
macro_rules! never {
    () => {
        "timestamp '9999-12-31 00:00:00'"
    };
}
pub(in crate::store) use never;

/// A status as a literal.
macro_rules! status {
    ($status:ident) => {
        concat!("'", crate::domain::status_name!($status), "'")
    };
}
pub(in crate::store) use status;

/// The orders of a list of ids, each read by its primary key.
macro_rules! orders_by_id {
    () => {
        r"
        from (
            select unhex(order_id) as order_id
            from json_table(?, '$[*]' columns (order_id char(32) path '$')) as ids
        ) as listed
        straight_join orders force index (primary) on orders.order_id = listed.order_id
        "
    };
}
pub(in crate::store) use orders_by_id;

/// A statement was not sent, since the server would reject its size.
#[derive(Debug, thiserror::Error)]
#[error("the statement has {bytes} bytes, and the server accepts {bytes_max} at once (max_allowed_packet)")]
pub(in crate::store) struct Oversized {
    pub(in crate::store) bytes: usize,
    pub(in crate::store) bytes_max: usize,
}

impl From<Oversized> for sqlx::Error {
    fn from(oversized: Oversized) -> Self {
        Self::Encode(Box::new(oversized))
    }
}

/// Statements that run one after the other until one fails. They hold callers' data, so they cannot be printed.
#[derive(Default)]
#[must_use]
pub(in crate::store) struct Script(String);

/// What the statements of a script returned.
#[derive(Default)]
pub(in crate::store) struct ScriptResult {
    /// Rows that matched and were changed.
    pub(in crate::store) changed: u64,
    /// Rows that the statements returned, in their order.
    rows: Vec<MySqlRow>,
}

impl Script {
    /// Begins a transaction. If it is never committed, it is rolled back when its connection closes.
    pub(in crate::store) fn begin() -> Self {
        Self::default().then("begin")
    }

    /// Adds a statement.
    pub(in crate::store) fn then(mut self, statement: impl fmt::Display) -> Self {
        use fmt::Write;

        let separator = if self.0.is_empty() { "" } else { ";\n" };
        // Writing to a String cannot fail.
        let _ = write!(self.0, "{separator}{statement}");
        self
    }

    /// Commits the transaction.
    pub(in crate::store) fn commit(self) -> Self {
        self.then("commit")
    }

    /// Ends the transaction without effect.
    pub(in crate::store) fn rollback(self) -> Self {
        self.then("rollback")
    }

    /// The same script; fails if it is too large for the server to accept as one message.
    pub(in crate::store) fn within(self, bytes_max: usize) -> Result<Self, Oversized> {
        let bytes = self.0.len();
        if bytes > bytes_max { Err(Oversized { bytes, bytes_max }) } else { Ok(self) }
    }

    /// Sends all statements, if there are any, and reads all answers.
    pub(in crate::store) async fn run(self, connection: &mut MySqlConnection) -> Result<ScriptResult, sqlx::Error> {
        let mut result = ScriptResult::default();
        if self.0.is_empty() {
            return Ok(result);
        }
        let is_large = self.0.len() > LARGE;
        let mut answers = sqlx::raw_sql(AssertSqlSafe(self.0)).fetch_many(&mut *connection);
        while let Some(answer) = answers.try_next().await? {
            match answer {
                Either::Left(done) => result.changed += done.rows_affected(),
                Either::Right(row) => result.rows.push(row),
            }
        }
        drop(answers);
        if is_large {
            connection.shrink_buffers();
        }
        Ok(result)
    }
}

impl ScriptResult {
    /// The time that the first row has in its first column.
    pub(in crate::store) fn time(&self) -> Result<DateTime<Utc>, sqlx::Error> {
        self.rows.first().ok_or(sqlx::Error::RowNotFound)?.try_get(0)
    }
}

/// A value for a placeholder of a statement whose values a function decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) enum Value {
    Null,
    Number(i64),
    /// As a DATETIME: bound as TIMESTAMPs, which end in 2038, the far ends of a list would be no times.
    Time(NaiveDateTime),
    Id(Uuid),
    Text(&'static str),
}

impl Value {
    /// The values in the order of their placeholders.
    pub(in crate::store) fn bind(values: &[Self]) -> Result<MySqlArguments, sqlx::Error> {
        let mut arguments = MySqlArguments::default();
        for value in values {
            match value {
                Self::Null => arguments.add(None::<i64>),
                Self::Number(number) => arguments.add(number),
                Self::Time(time) => arguments.add(time),
                Self::Id(id) => arguments.add(id),
                Self::Text(text) => arguments.add(text),
            }
            .map_err(sqlx::Error::Encode)?;
        }
        Ok(arguments)
    }
}

/// Sixteen bytes, in hexadecimal.
pub(in crate::store) struct Id(pub(in crate::store) Uuid);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "x'{}'", self.0.simple())
    }
}

/// A list of ids, for `in (…)`.
pub(in crate::store) fn ids(ids: impl IntoIterator<Item = Uuid>) -> String {
    use fmt::Write;

    let mut list = String::new();
    for id in ids {
        let separator = if list.is_empty() { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(list, "{separator}{}", Id(id));
    }
    list
}

/// A caller's text in hexadecimal; null if there is none.
pub(in crate::store) struct Text<'a>(pub(in crate::store) Option<&'a str>);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(text) => write!(f, "_utf8mb4 x'{}'", hex::encode(text)),
            None => f.write_str("null"),
        }
    }
}

/// A time, to the microsecond.
pub(in crate::store) struct Time(pub(in crate::store) DateTime<Utc>);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.0.naive_utc().format("%F %T%.6f"))
    }
}

/// A JSON array of ids, for `orders_by_id`.
pub(in crate::store) fn json_of_ids(ids: impl Iterator<Item = OrderId>) -> String {
    ids.map(|id| id.uuid().simple().to_string()).collect::<serde_json::Value>().to_string()
}

pub(in crate::store) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// As much of an error as its column holds.
pub(in crate::store) fn short(error: &str) -> String {
    error.chars().take(1_000).collect()
}

/// Inserts rows by a statement that takes them as JSON. They are sorted: two writers of the same rows lock them in the
/// same order, so that they cannot deadlock.
pub(in crate::store) async fn insert_sorted<R: Ord + serde::Serialize>(
    connection: &mut MySqlConnection,
    statement: &'static str,
    mut rows: Vec<R>,
) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    rows.sort_unstable();
    sqlx::query(statement).bind(serde_json::json!(rows).to_string()).execute(connection).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_wrote_cannot_end_its_literal() {
        let text = "'; drop table orders; -- \\ \u{1f600}";

        let literal = Text(Some(text)).to_string();

        let digits = literal.strip_prefix("_utf8mb4 x'").and_then(|rest| rest.strip_suffix('\'')).unwrap();
        assert_eq!(hex::decode(digits).unwrap(), text.as_bytes());
        assert_eq!(Text(Some("")).to_string(), "_utf8mb4 x''");
        assert_eq!(Text(None).to_string(), "null");
    }

    #[test]
    fn times_and_ids_are_literals_of_their_columns() {
        let at = DateTime::from_timestamp(1, 5_000).unwrap();

        assert_eq!(Time(at).to_string(), "'1970-01-01 00:00:01.000005'");
        assert_eq!(ids([Uuid::nil(), Uuid::max()]), format!("x'{}',x'{}'", "0".repeat(32), "f".repeat(32)));
        assert_eq!(json_of_ids([Uuid::nil().into()].into_iter()), format!("[\"{}\"]", "0".repeat(32)));
    }

    #[test]
    fn statements_are_one_text() {
        let script = Script::begin().then(format_args!("select {}", 1)).commit();

        assert_eq!(script.0, "begin;\nselect 1;\ncommit");
    }
}
