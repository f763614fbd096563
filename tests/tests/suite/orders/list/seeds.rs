//! Orders that are in the table already, and what a list of them must show.

use std::collections::BTreeSet;

use chrono::{NaiveDateTime, TimeDelta};
use orders_tests::{Api, Database, Reply};
use reqwest::Url;
use uuid::Uuid;

use crate::rows::insert;
use crate::sample;

/// The columns of an order that a list can be filtered by.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Seed {
    pub(super) order_id: Uuid,
    pub(super) user_id: i64,
    pub(super) status: String,
    pub(super) external_id: Option<String>,
    pub(super) created_at: NaiveDateTime,
}

/// A parameter with its value.
#[derive(Clone, Debug)]
pub(super) enum Filter {
    Status(&'static str),
    User(i64),
    ExternalId(String),
    After(NaiveDateTime),
    Before(NaiveDateTime),
}

impl Filter {
    /// The name of the parameter, which may occur once.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Status(_) => "status",
            Self::User(_) => "user_id",
            Self::ExternalId(_) => "external_id",
            Self::After(_) => "created_after",
            Self::Before(_) => "created_before",
        }
    }

    fn value(&self) -> String {
        match self {
            Self::Status(status) => (*status).to_owned(),
            Self::User(user_id) => user_id.to_string(),
            Self::ExternalId(external_id) => external_id.clone(),
            Self::After(time) | Self::Before(time) => time.format("%FT%T%.6fZ").to_string(),
        }
    }

    fn shows(&self, seed: &Seed) -> bool {
        match self {
            Self::Status(status) => seed.status == *status,
            Self::User(user_id) => seed.user_id == *user_id,
            Self::ExternalId(external_id) => seed.external_id.as_ref() == Some(external_id),
            Self::After(time) => seed.created_at > *time,
            Self::Before(time) => seed.created_at < *time,
        }
    }
}

/// Adds `count` orders of all statuses, of three users, twenty of each moment, with ids in no order; every seventh has
/// an external id.
pub(super) async fn seed(database: &Database, count: u32) {
    let status = "elt(1 + n % 5, 'PENDING', 'PROCESSING', 'COMPLETED', 'FAILED', 'CANCELED')";
    let created_at = "timestamp '2026-01-01 00:00:00.000001' + interval floor(n / 20) second";
    insert(database, count, status, "1 + n % 3", created_at, "if(n % 7 = 0, concat('external ', n), null)").await;
}

/// Every order, the newest first.
pub(super) async fn all(database: &Database) -> Vec<Seed> {
    let all = "
        select order_id, user_id, cast(status as char) as status, external_id, created_at
        from orders
        order by created_at desc, order_id desc
    ";
    sqlx::query_as(all).fetch_all(&database.pool).await.unwrap()
}

/// The orders that match all filters.
pub(super) fn matching(seeds: &[Seed], filters: &[Filter]) -> Vec<Uuid> {
    let matching = seeds.iter().filter(|seed| filters.iter().all(|filter| filter.shows(seed)));
    matching.map(|seed| seed.order_id).collect()
}

/// No filter, each filter alone, and each two filters of different kinds.
pub(super) fn filters(seeds: &[Seed]) -> Vec<Vec<Filter>> {
    let middle = seeds[seeds.len() / 2].created_at;
    let statuses = ["PENDING", "PROCESSING", "COMPLETED", "FAILED", "CANCELED"].map(Filter::Status);
    let others = [
        Filter::User(1),
        Filter::User(3),
        Filter::User(99),
        Filter::ExternalId("external 49".to_owned()),
        Filter::After(middle - TimeDelta::seconds(2)),
        Filter::Before(middle + TimeDelta::seconds(2)),
    ];
    let each: Vec<_> = statuses.into_iter().chain(others).collect();
    let mut sets: Vec<Vec<Filter>> = vec![vec![]];
    for (place, one) in each.iter().enumerate() {
        sets.push(vec![one.clone()]);
        let others = each[place..].iter().filter(|other| other.name() != one.name());
        sets.extend(others.map(|other| vec![one.clone(), other.clone()]));
    }
    sets
}

/// Asks for one page.
pub(super) async fn page(api: &Api, filters: &[Filter], limit: u16, cursor: Option<&str>) -> Reply {
    let mut parameters: Vec<_> = filters.iter().map(|filter| (filter.name(), filter.value())).collect();
    parameters.push(("limit", limit.to_string()));
    parameters.extend(cursor.map(|cursor| ("cursor", cursor.to_owned())));
    let url = Url::parse_with_params(&api.url("/orders"), parameters).unwrap();
    api.send(api.client().get(url)).await
}

/// The orders of a page, at most `limit`, and the cursor of the next page.
pub(super) fn read(page: &Reply, limit: u16) -> (Vec<Uuid>, Option<String>) {
    assert_eq!(page.status, 200, "{page:?}");
    let body = page.json();
    let ids: Vec<_> = body["orders"].as_array().unwrap().iter().map(sample::id).collect();
    assert!(ids.len() <= usize::from(limit), "{page:?}");
    (ids, body["next_cursor"].as_str().map(str::to_owned))
}

/// All orders of a list in its order, none of them twice, and the number of its pages.
pub(super) async fn walk(api: &Api, filters: &[Filter], limit: u16) -> (Vec<Uuid>, usize) {
    let (mut visited, mut pages, mut cursor) = (Vec::new(), 0, None);
    loop {
        let (ids, next) = read(&page(api, filters, limit, cursor.as_deref()).await, limit);
        visited.extend(ids);
        pages += 1;
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(visited.iter().collect::<BTreeSet<_>>().len(), visited.len(), "{filters:?}: an order comes twice");
    (visited, pages)
}
