use std::sync::Arc;

use orders_shared::domain::OrderId;
use orders_shared::store::Change;
use poem::web::{Data, RemoteAddr};
use poem_openapi::param::Path;
use poem_openapi::{Object, OpenApi};
use uuid::Uuid;

use super::view::FullOrder;
use crate::app::App;
use crate::edge::{Action, Body, Shape, log_action};
use crate::problems::{Kind, Problem};
use crate::wire::fields::Fields;
use crate::wire::json::Json;
use crate::wire::tags::Tag;

/// The operations by which people change an order.
pub(crate) struct LifecycleApi;

#[OpenApi]
impl LifecycleApi {
    /// Cancel an order
    ///
    /// Only a PENDING order can be canceled; canceling it again changes nothing. An order in any other status is
    /// answered with 409, and `order_status` has its status.
    #[oai(path = "/orders/:order_id/cancel", method = "post", operation_id = "cancel_order", tag = "Tag::Orders")]
    async fn cancel_order(
        &self,
        /// The order's id.
        order_id: Path<Uuid>,
        client: &RemoteAddr,
        app: Data<&Arc<App>>,
    ) -> Result<Json<FullOrder>, Problem> {
        let (order_id, client) = (OrderId::from(order_id.0), client.clone());
        let change = app
            .ask(async move |store| {
                let change = store.cancel(order_id).await;
                log_action(Action::Cancel(order_id), &client, change.as_ref().map(outcome));
                change
            })
            .await?;
        changed(change, "Only a PENDING order can be canceled")
    }

    /// Retry a failed order
    ///
    /// A FAILED order becomes PENDING again: it is due at once, and all its attempts are restored. An order in any
    /// other status is answered with 409, and `order_status` has its status. An order is poison if three workers were
    /// lost while they worked on it; its `last_error` says so. To retry it, send `{"force": true}`: it may cost three
    /// more workers.
    #[oai(path = "/orders/:order_id/retry", method = "post", operation_id = "retry_order", tag = "Tag::Orders")]
    async fn retry_order(
        &self,
        /// The order's id.
        order_id: Path<Uuid>,
        how: Body<RetryOrder>,
        client: &RemoteAddr,
        app: Data<&Arc<App>>,
    ) -> Result<Json<FullOrder>, Problem> {
        let (order_id, force) = (OrderId::from(order_id.0), how.0);
        let (client, wakeup) = (client.clone(), app.wakeup.clone());
        let change = app
            .ask(async move |store| {
                let change = store.retry(order_id, force).await;
                log_action(Action::Retry(order_id), &client, change.as_ref().map(outcome));
                if matches!(change, Ok(Change::Made(_))) {
                    wakeup.notify();
                }
                change
            })
            .await?;
        changed(change, "Only a FAILED order can be retried")
    }
}

/// How to retry an order.
#[derive(Object)]
struct RetryOrder {
    /// Whether to retry the order even if it is poison; false if missing or null.
    force: Option<bool>,
}

impl Shape for RetryOrder {
    /// Whether it is forced.
    type Meaning = bool;

    const BYTES_MAX: usize = 4 << 10;

    const ABSENT: Option<bool> = Some(false);

    fn read(fields: &mut Fields<'_>) -> Option<bool> {
        Some(fields.optional("force", Fields::boolean).unwrap_or_default())
    }
}

/// The outcome of a change, for the log.
fn outcome(change: &Change) -> String {
    match change {
        Change::Made(order) => format!("the order is {}", order.status),
        Change::Conflict(order) => format!("refused: the order is {}", order.status),
        Change::Poison(_) => "refused: the order is poison".to_owned(),
        Change::NotFound => "refused: there is no such order".to_owned(),
    }
}

/// The changed order, or the problem. `rule` says which status the change needs.
fn changed(change: Change, rule: &str) -> Result<Json<FullOrder>, Problem> {
    match change {
        Change::Made(order) => Ok(Json::new(&order.into())),
        Change::NotFound => Err(Problem::no_such_order()),
        Change::Poison(order) => {
            let detail = format!(
                "This order is poison: {} workers were lost while they worked on it. Send {{\"force\": true}} to retry \
                 it anyway.",
                order.rescues
            );
            Err(Problem::new(Kind::OrderIsPoison, detail).with_order_status(order.status))
        }
        Change::Conflict(order) => {
            let detail = format!("{rule}; this one is {}.", order.status);
            Err(Problem::new(Kind::OrderStatusConflict, detail).with_order_status(order.status))
        }
    }
}
