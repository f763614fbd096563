//! One change of an order's status or claim.

use chrono::NaiveDateTime;
use sqlx::error::BoxDynError;
use sqlx::mysql::{MySqlTypeInfo, MySqlValueRef};
use sqlx::{Decode, MySql, Type};
use uuid::Uuid;

/// One change of one order, and what else its row said after it.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Change {
    /// Rises with time for each order, and between orders by accident.
    pub seq: i64,
    /// The order that changed.
    pub order_id: Uuid,
    /// Nothing when the order was placed.
    pub old_status: Option<Status>,
    /// Where the order stands now.
    pub new_status: Status,
    /// The claim that held the order.
    pub old_token: Option<Uuid>,
    /// The claim that holds the order now.
    pub new_token: Option<Uuid>,
    /// Who claimed the order last.
    pub worker_id: Option<Uuid>,
    /// The attempt under way, or attempts used.
    pub attempt: u16,
    /// How often the order was taken back from a dead worker.
    pub rescues: u8,
    /// When the statement that made the change began, by the database's clock.
    pub at: NaiveDateTime,
}

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "docs/STATE_MACHINE.md tells them")]
pub enum Status {
    Pending,
    Processing,
    Completed,
    Failed,
    Canceled,
}

impl Type<MySql> for Status {
    fn type_info() -> MySqlTypeInfo {
        <str as Type<MySql>>::type_info()
    }

    fn compatible(column: &MySqlTypeInfo) -> bool {
        <str as Type<MySql>>::compatible(column)
    }
}

impl<'r> Decode<'r, MySql> for Status {
    fn decode(value: MySqlValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(match <&str as Decode<MySql>>::decode(value)? {
            "PENDING" => Self::Pending,
            "PROCESSING" => Self::Processing,
            "COMPLETED" => Self::Completed,
            "FAILED" => Self::Failed,
            "CANCELED" => Self::Canceled,
            other => return Err(format!("no status is named {other}").into()),
        })
    }
}
