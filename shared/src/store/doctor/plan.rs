//! Whether a plan is the one that a statement was written for. Decides, and reads nothing.

use sqlx::Row;
use sqlx::mysql::MySqlRow;

use crate::store::hot::Plan;

/// What EXPLAIN says if it looked a row up by its whole primary key and found none: in MySQL and in MariaDB.
const NO_ROW: [&str; 2] = ["no matching row in const table", "Impossible WHERE noticed after reading const tables"];

/// For each row, a statement may read the index entry, the row itself, and a row of a joined table.
const READS_A_ROW: u64 = 3;

/// A statement may also read so many others, such as the queue's pause.
const READS_MORE: u64 = 100;

/// One line of EXPLAIN's output.
#[derive(Debug, Default)]
pub(super) struct Step {
    kind: String,
    table: String,
    access: String,
    key: String,
    extra: String,
}

impl Step {
    /// Whether the row that it looks up by its whole primary key is not there.
    fn has_no_row(&self) -> bool {
        NO_ROW.iter().any(|message| self.extra.contains(message))
    }
}

impl TryFrom<MySqlRow> for Step {
    type Error = sqlx::Error;

    fn try_from(row: MySqlRow) -> Result<Self, sqlx::Error> {
        let text = |column| row.try_get::<Option<String>, _>(column).map(Option::unwrap_or_default);
        Ok(Self {
            kind: text("select_type")?,
            table: text("table")?,
            access: text("type")?,
            key: text("key")?,
            extra: text("Extra")?,
        })
    }
}

/// How much a run of the statement read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reads {
    /// Rows and index entries that the server read.
    pub(super) read: u64,
    /// The most rows that the statement may return.
    pub(super) limit: u64,
}

/// Fails with what is wrong with the plan that the server made.
pub(super) fn compare(plan: Plan, steps: &[Step], reads: Option<Reads>) -> Result<(), String> {
    if steps.iter().any(|step| step.extra.contains("filesort")) {
        return Err("it sorts (filesort), and reads and locks all that it sorts".to_owned());
    }
    // MySQL keeps the rows of a JSON_TABLE in a temporary table, no larger than a batch.
    if steps.iter().any(|step| step.extra.contains("temporary") && !step.extra.contains("Table function")) {
        return Err("it builds a temporary table".to_owned());
    }
    if let Some(Reads { read, limit }) = reads.filter(|it| it.read > it.limit * READS_A_ROW + READS_MORE) {
        return Err(format!("it read {read} rows and index entries for {limit} rows at most"));
    }
    // MySQL lists the table that an INSERT writes to as if it were read as a whole.
    let mut shown = steps.iter().filter(|step| step.table == plan.table && step.kind != "INSERT").peekable();
    if shown.peek().is_none() && !(plan.key == "PRIMARY" && steps.iter().any(Step::has_no_row)) {
        let extra: Vec<_> = steps.iter().map(|step| step.extra.as_str()).collect();
        return Err(format!("its plan does not show {}: {}", plan.table, extra.join("; ")));
    }
    for step in shown {
        // If all rows match, MySQL likes to walk the same index from its start. The reads have shown that this is
        // bounded.
        let is_walk = step.access == "index" && reads.is_some();
        if step.key != plan.key || !(plan.access.contains(&step.access.as_str()) || is_walk) {
            let key = if step.key.is_empty() { "no index" } else { &step.key };
            return Err(format!("it reads {} by {key} ({})", step.table, step.access));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: Plan = Plan { table: "orders", key: "orders_by_status", access: &["range"] };

    fn orders(access: &str, key: &str, extra: &str) -> Step {
        let [kind, table, access, key, extra] = ["SIMPLE", "orders", access, key, extra].map(str::to_owned);
        Step { kind, table, access, key, extra }
    }

    #[test]
    fn a_plan_stands_by_its_index_its_access_and_what_it_read() {
        let few = Some(Reads { read: 101, limit: 100 });
        let many = Some(Reads { read: 20_000, limit: 100 });
        for (access, key, extra, reads, is_right) in [
            ("range", "orders_by_status", "Using index condition", few, true),
            ("range", "orders_by_status", "Using index condition", None, true),
            ("range", "orders_by_status", "", many, false),
            ("range", "orders_by_status", "Using where; Using filesort", few, false),
            ("range", "orders_by_status", "Using temporary", few, false),
            ("range", "PRIMARY", "", few, false),
            ("index", "orders_by_status", "", few, true),
            ("index", "orders_by_status", "", None, false),
            ("ALL", "", "", few, false),
            ("", "", "Impossible WHERE", None, false),
        ] {
            let compared = compare(LIST, &[orders(access, key, extra)], reads);

            assert_eq!(compared.is_ok(), is_right, "{access} {key} {extra} {reads:?}: {compared:?}");
        }
    }

    #[test]
    fn the_rows_of_a_json_table_may_lie_in_a_temporary_table_and_what_is_inserted_is_not_read() {
        let listed = Step { extra: "Table function: json_table; Using temporary".to_owned(), ..Step::default() };
        let into = Step { kind: "INSERT".to_owned(), ..orders("ALL", "", "") };
        let from = orders("range", "orders_by_status", "");

        assert!(compare(LIST, &[into, listed, from], None).is_ok());
    }

    #[test]
    fn a_row_that_is_not_there_was_looked_for_by_its_primary_key() {
        for message in NO_ROW {
            let none = Step { extra: message.to_owned(), ..Step::default() };

            assert!(compare(Plan { key: "PRIMARY", ..LIST }, &[none], None).is_ok());
        }
    }
}
