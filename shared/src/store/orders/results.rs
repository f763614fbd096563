//! The table `order_results`: what the work on an order produced, for the few that produce something.

use crate::domain::{OrderId, OrderResult};
use crate::store::sql::{Id, Script, Text};

/// Writes the results of orders that are being completed. They are sorted, as every writer's rows are.
pub(in crate::store) fn insert<'a>(
    script: Script,
    results: impl Iterator<Item = (OrderId, &'a OrderResult)>,
) -> Script {
    let mut results: Vec<_> = results.collect();
    if results.is_empty() {
        return script;
    }
    results.sort_unstable_by_key(|(order_id, _)| *order_id);
    let rows =
        results.iter().map(|(order_id, result)| format!("({}, {})", Id(order_id.uuid()), Text(Some(result.json()))));
    let rows = rows.collect::<Vec<_>>().join(",");
    script.then(format_args!("insert into order_results (order_id, result) values {rows}"))
}
