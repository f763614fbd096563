//! Hot statements: those that run all the time. Each file declares its own beside its SQL, and `doctor` checks their
//! plans.

use std::borrow::Cow;

use super::sql::Value;

/// Rows that a hot statement with a limit is run for: a page's, and few enough to be locked for a moment beside
/// workers.
pub(in crate::store) const LIMIT: u32 = 100;

/// A hot statement, with values that it may have.
pub(in crate::store) struct Hot {
    pub(in crate::store) name: &'static str,
    pub(in crate::store) sql: Cow<'static, str>,
    pub(in crate::store) values: Vec<Value>,
    pub(in crate::store) plan: Plan,
    /// Rows that it may give; `None` where it is not run, as it changes something or cannot be measured by what it
    /// gives.
    pub(in crate::store) limit: Option<u32>,
}

/// The plan that a statement was written for.
#[derive(Clone, Copy)]
pub(in crate::store) struct Plan {
    /// The table that grows, the index by which it is read, and how.
    pub(in crate::store) table: &'static str,
    pub(in crate::store) key: &'static str,
    pub(in crate::store) access: &'static [&'static str],
}

impl Hot {
    /// A statement that reads `table` by the index `key`, in one of the ways that EXPLAIN calls `access`.
    pub(in crate::store) fn new(
        name: &'static str,
        sql: impl Into<Cow<'static, str>>,
        values: Vec<Value>,
        (table, key, access): (&'static str, &'static str, &'static [&'static str]),
    ) -> Self {
        Self { name, sql: sql.into(), values, plan: Plan { table, key, access }, limit: None }
    }

    /// A statement that reads orders by the index `key`, up to [`LIMIT`].
    pub(in crate::store) fn listing(
        name: &'static str,
        sql: &'static str,
        values: Vec<Value>,
        key: &'static str,
    ) -> Self {
        Self::new(name, sql, values, ("orders", key, &["range", "ref"])).up_to(LIMIT)
    }

    /// A statement that reads a row of `table` for each of a batch, whose size does not change the plan.
    pub(in crate::store) fn of_batch(name: &'static str, sql: &'static str, table: &'static str) -> Self {
        Self::new(name, sql, vec![Value::Text("[]")], (table, "PRIMARY", &["eq_ref"]))
    }

    /// A statement that reads one row of `table` by its whole primary key.
    pub(in crate::store) fn of_one(name: &'static str, sql: &'static str, value: Value, table: &'static str) -> Self {
        Self::new(name, sql, vec![value], (table, "PRIMARY", &["const"])).up_to(1)
    }

    /// A statement whose text holds the ids of orders: two, as the server would look one alone up while it makes the
    /// plan.
    pub(in crate::store) fn of_ids(name: &'static str, sql: String) -> Self {
        Self::new(name, sql, vec![], ("orders", "PRIMARY", &["range"]))
    }

    /// The same, run to see what it reads; it may give so many rows.
    pub(in crate::store) fn up_to(self, limit: u32) -> Self {
        Self { limit: Some(limit), ..self }
    }
}
