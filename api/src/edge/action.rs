use orders_shared::domain::OrderId;
use orders_shared::store::StoreError;
use poem::web::RemoteAddr;
use tracing::field::display;

/// Tells of something that a person has asked for and that changes orders or the queue: one line in the log for each, whatever
/// came of it. The request's span adds its id. `order_id` is the order that it is about, unless it is about the queue.
pub(crate) fn log_action(
    action: &str,
    order_id: Option<OrderId>,
    client: &RemoteAddr,
    outcome: Result<String, &StoreError>,
) {
    let outcome = outcome.unwrap_or_else(|error| format!("failed: {error}"));
    let client = client.as_socket_addr().map(display);
    tracing::info!(action, order_id = order_id.map(display), %outcome, client, "a person acted");
}
