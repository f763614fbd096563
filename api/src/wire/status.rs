use orders_shared::domain::OrderStatus;
use poem_openapi::Enum;
use serde::Serialize;

/// Where an order stands.
#[derive(Clone, Copy, Debug, Enum, Serialize)]
#[oai(rename_all = "UPPERCASE", rename = "OrderStatus", remote = "OrderStatus")]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Status {
    /// Waits in the queue.
    Pending,
    /// A worker has claimed it.
    Processing,
    /// Done.
    Completed,
    /// Could not be done.
    Failed,
    /// Taken back.
    Canceled,
}
