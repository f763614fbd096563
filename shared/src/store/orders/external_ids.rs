//! External ids: stored in the transaction of their orders, so that each belongs to one order for ever.

use std::collections::HashMap;

use sqlx::MySqlConnection;
use uuid::Uuid;

use crate::domain::{ExternalId, OrderId, PlaceConflict, Placement};
use crate::store::hot::Hot;
use crate::store::sql::insert_sorted;

/// External ids are sent in hexadecimal, so that they get the column's character set and its index serves.
const KNOWN_IDS: &str = r"
    select external_ids.external_id, external_ids.order_id
    from (
        select convert(unhex(external_id) using utf8mb4) collate utf8mb4_bin as external_id
        from json_table(?, '$[*]' columns (external_id varchar(512) path '$')) as wanted
    ) as listed
    straight_join external_ids force index (primary) on external_ids.external_id = listed.external_id
";

const INSERT: &str = r"
    insert into external_ids (external_id, order_id)
    select convert(unhex(taken.external_id) using utf8mb4), unhex(taken.order_id)
    from json_table(?, '$[*]' columns (
        external_id varchar(512) path '$[0]' error on error,
        order_id char(32) path '$[1]' error on error
    )) as taken
";

pub(in crate::store) fn hot_statements() -> Vec<Hot> {
    vec![Hot::of_batch("find external ids", KNOWN_IDS, "external_ids")]
}

/// External ids in use, including those of this batch.
pub(super) struct KnownIds(HashMap<String, OrderId>);

impl KnownIds {
    /// Adds all external ids of the placement. If one of them belongs to another order, adds none, and says so.
    pub(super) fn add(&mut self, placement: &Placement) -> Result<(), PlaceConflict> {
        for (index, order) in placement.orders.iter().enumerate() {
            let known = order.external_id.as_ref().and_then(|external_id| self.0.get(external_id.as_str()));
            if let Some(&order_id) = known.filter(|&&order_id| order_id != order.order_id) {
                return Err(PlaceConflict::ExternalIdTaken { index, order_id });
            }
        }
        self.0.extend(wanted([placement]).map(|(external_id, order_id)| (external_id.as_str().to_owned(), order_id)));
        Ok(())
    }
}

/// The external ids of these placements that are in use already.
pub(super) async fn known(connection: &mut MySqlConnection, placements: &[Placement]) -> Result<KnownIds, sqlx::Error> {
    let wanted: Vec<_> = wanted(placements).map(|(external_id, _)| hex::encode(external_id.as_str())).collect();
    if wanted.is_empty() {
        return Ok(KnownIds(HashMap::new()));
    }
    let rows: Vec<(String, Uuid)> =
        sqlx::query_as(KNOWN_IDS).bind(serde_json::json!(wanted).to_string()).fetch_all(connection).await?;
    Ok(KnownIds(rows.into_iter().map(|(external_id, order_id)| (external_id, order_id.into())).collect()))
}

/// Writes the external ids of these placements.
pub(super) async fn insert<'a>(
    connection: &mut MySqlConnection,
    placements: impl IntoIterator<Item = &'a Placement>,
) -> Result<(), sqlx::Error> {
    let rows = wanted(placements)
        .map(|(external_id, order_id)| [hex::encode(external_id.as_str()), order_id.uuid().simple().to_string()]);
    insert_sorted(connection, INSERT, rows.collect()).await
}

fn wanted<'a>(placements: impl IntoIterator<Item = &'a Placement>) -> impl Iterator<Item = (&'a ExternalId, OrderId)> {
    let orders = placements.into_iter().flat_map(|placement| &placement.orders);
    orders.filter_map(|order| order.external_id.as_ref().map(|external_id| (external_id, order.order_id)))
}
