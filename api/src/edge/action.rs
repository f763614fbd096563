use orders_shared::domain::OrderId;
use orders_shared::store::StoreError;
use poem::web::RemoteAddr;
use tracing::field::display;

/// What a person does to an order or to the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Cancel(OrderId),
    Retry(OrderId),
    Pause,
    Resume,
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Self::Cancel(_) => "cancel",
            Self::Retry(_) => "retry",
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }

    fn order_id(self) -> Option<OrderId> {
        match self {
            Self::Cancel(order_id) | Self::Retry(order_id) => Some(order_id),
            Self::Pause | Self::Resume => None,
        }
    }
}

/// Logs what a person did: one line for each action, whatever came of it. The request's span adds its id.
pub(crate) fn log_action(action: Action, client: &RemoteAddr, outcome: Result<String, &StoreError>) {
    let (action, order_id) = (action.name(), action.order_id().map(display));
    let outcome = outcome.unwrap_or_else(|error| format!("failed: {error}"));
    let client = client.as_socket_addr().map(display);
    tracing::info!(action, order_id, %outcome, client, "a person acted");
}
