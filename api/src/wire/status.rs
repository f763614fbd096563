use orders_shared::domain::OrderStatus;
use poem_openapi::Enum;
use serde::Serialize;

/// The status of an order.
#[derive(Clone, Copy, Debug, Enum, Serialize)]
#[oai(rename_all = "UPPERCASE", rename = "OrderStatus", remote = "OrderStatus")]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Status {
    /// It waits in the queue.
    Pending,
    /// A worker has claimed it.
    Processing,
    /// It is done.
    Completed,
    /// It failed for good, unless a person retries it.
    Failed,
    /// It was canceled.
    Canceled,
}
