//! Whether a plan is the one that a statement was written for. Knows no connection.

use sqlx::Row;
use sqlx::mysql::MySqlRow;

/// The plan that a statement was written for.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    /// The table that grows, the index by which it is read, and how.
    pub(super) table: &'static str,
    pub(super) key: &'static str,
    pub(super) access: &'static [&'static str],
}

/// Of EXPLAIN where a row was looked up by its whole primary key, and is not there: in MySQL and in MariaDB.
const NO_ROW: [&str; 2] = ["no matching row in const table", "Impossible WHERE noticed after reading const tables"];

/// Each row that is wanted may be read by its index, in its table and in a table joined to it.
const READS_A_ROW: u64 = 3;

/// What a statement reads besides, such as the queue's pause.
const READS_MORE: u64 = 100;

/// One line of what EXPLAIN tells.
#[derive(Debug, Default)]
pub(super) struct Step {
    kind: String,
    table: String,
    access: String,
    key: String,
    extra: String,
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

/// What a run of the statement cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reads {
    /// Rows and index entries that the server read.
    pub(super) read: u64,
    /// Rows that the statement may give at most.
    pub(super) limit: u64,
}

impl Plan {
    /// What is wrong with the plan that the server made; what is right about it otherwise.
    pub(super) fn compare(self, steps: &[Step], reads: Option<Reads>) -> Result<String, String> {
        if steps.iter().any(|step| step.extra.contains("filesort")) {
            return Err("it sorts (filesort), and reads and locks all that it sorts".to_owned());
        }
        // MySQL keeps the rows of a JSON_TABLE in one, of the size of a batch.
        if steps.iter().any(|step| step.extra.contains("temporary") && !step.extra.contains("Table function")) {
            return Err("it builds a temporary table".to_owned());
        }
        if let Some(Reads { read, limit }) = reads.filter(|it| it.read > it.limit * READS_A_ROW + READS_MORE) {
            return Err(format!("it read {read} rows and index entries for {limit} rows at most"));
        }
        let mut ways = Vec::new();
        // What an INSERT writes to is listed by MySQL as if it were read as a whole.
        for step in steps.iter().filter(|step| step.table == self.table && step.kind != "INSERT") {
            // Where all rows match, MySQL likes to walk the same index from its start: bounded, as was seen.
            let is_walk = step.access == "index" && reads.is_some();
            if step.key != self.key || !(self.access.contains(&step.access.as_str()) || is_walk) {
                let key = if step.key.is_empty() { "no index" } else { &step.key };
                return Err(format!("it reads {} by {key} ({})", step.table, step.access));
            }
            ways.push(format!("reads {} by {} ({})", step.table, step.key, step.access));
        }
        if ways.is_empty() {
            let is_no_row = |step: &Step| NO_ROW.iter().any(|message| step.extra.contains(message));
            if self.key != "PRIMARY" || !steps.iter().any(is_no_row) {
                let extra: Vec<_> = steps.iter().map(|step| step.extra.as_str()).collect();
                return Err(format!("its plan does not show {}: {}", self.table, extra.join("; ")));
            }
            ways.push("has no row to read".to_owned());
        }
        ways.extend(reads.map(|Reads { read, limit }| format!("{read} reads for {limit} rows at most")));
        Ok(ways.join(", "))
    }
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
            let compared = LIST.compare(&[orders(access, key, extra)], reads);

            assert_eq!(compared.is_ok(), is_right, "{access} {key} {extra} {reads:?}: {compared:?}");
        }
    }

    #[test]
    fn the_rows_of_a_json_table_may_lie_in_a_temporary_table_and_what_is_inserted_is_not_read() {
        let listed = Step { extra: "Table function: json_table; Using temporary".to_owned(), ..Step::default() };
        let into = Step { kind: "INSERT".to_owned(), ..orders("ALL", "", "") };
        let from = orders("range", "orders_by_status", "");

        assert!(LIST.compare(&[into, listed, from], None).is_ok());
    }

    #[test]
    fn a_row_that_is_not_there_was_looked_for_by_its_primary_key() {
        for message in NO_ROW {
            let none = Step { extra: message.to_owned(), ..Step::default() };

            assert!(Plan { key: "PRIMARY", ..LIST }.compare(&[none], None).is_ok());
        }
    }
}
