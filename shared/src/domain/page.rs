use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};

use super::{Order, OrderId};

/// One page of a list, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The orders of this page.
    pub orders: Vec<Order>,
    /// Where the next page goes on; `None` on the last one.
    pub next: Option<PageKey>,
}

/// A place in a list: right behind this order.
///
/// What is placed meanwhile neither repeats nor hides an order; one that changes its status leaves its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageKey {
    pub(crate) available_at: Option<DateTime<Utc>>,
    pub(crate) order_id: OrderId,
}

/// A text that is no [`PageKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be taken as it is from the link to the next page")]
pub struct NotAPageKey;

impl PageKey {
    /// Before the newest order of any list; the latest moment is MySQL's.
    pub(crate) const START: Self =
        Self { available_at: DateTime::from_timestamp(253_402_300_799, 999_999_000), order_id: OrderId::LAST };
}

/// Writes the key as it stands in a link: opaque to callers.
impl fmt::Display for PageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(available_at) = self.available_at {
            write!(f, "{:x}.", available_at.timestamp_micros())?;
        }
        write!(f, "{}", self.order_id.uuid().simple())
    }
}

impl FromStr for PageKey {
    type Err = NotAPageKey;

    fn from_str(text: &str) -> Result<Self, NotAPageKey> {
        let (available_at, order_id) = match text.split_once('.') {
            Some((micros, order_id)) => {
                let micros = i64::from_str_radix(micros, 16).map_err(|_| NotAPageKey)?;
                let available_at = DateTime::from_timestamp_micros(micros).ok_or(NotAPageKey)?;
                // Times that no order can be due at are no columns' values either.
                if available_at < DateTime::UNIX_EPOCH || Some(available_at) > Self::START.available_at {
                    return Err(NotAPageKey);
                }
                (Some(available_at), order_id)
            }
            None => (None, text),
        };
        let order_id = order_id.parse().map_err(|_| NotAPageKey)?;
        Ok(Self { available_at, order_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_key_survives_a_link() {
        let order_id = OrderId::new();
        for available_at in [None, DateTime::from_timestamp_micros(1_763_890_000_123_456)] {
            let key = PageKey { available_at, order_id };

            assert_eq!(key.to_string().parse(), Ok(key));
        }
    }

    #[test]
    fn a_time_that_the_column_cannot_hold_is_refused() {
        for micros in ["5000000000000000", "-1", "7fffffffffffffff"] {
            let text = format!("{micros}.{}", OrderId::new().uuid().simple());

            assert_eq!(text.parse::<PageKey>(), Err(NotAPageKey), "{text}");
        }
    }

    #[test]
    fn what_is_no_page_key_is_refused() {
        for text in ["", ".", "x", "ffffffffffffffffff.0", "7fffffffffffffff.0"] {
            assert_eq!(text.parse::<PageKey>(), Err(NotAPageKey), "{text}");
        }
    }
}
