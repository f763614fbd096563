//! Orders as rows: placed, found, listed, counted. Knows nothing of workers.

pub(super) mod counts;
pub(super) mod events;
pub(super) mod external_ids;
pub(super) mod keys;
pub(super) mod list;
mod list_plan;
pub(super) mod page;
pub(super) mod page_sql;
pub(super) mod place;
pub(super) mod results;
pub(super) mod row;
