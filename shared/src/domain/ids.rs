use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// A type of version 7 UUIDs (RFC 9562), made in the code and never by the database.
macro_rules! uuid_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// An id that nothing ever had.
            #[must_use]
            pub fn fresh() -> Self {
                Self(Uuid::now_v7())
            }

            /// The id as a plain UUID.
            #[must_use]
            pub fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

uuid_type! {
    /// An order's identity. Ids of one process rise in the order of making.
    OrderId
}

uuid_type! {
    /// One life of a worker process, named afresh at each registration.
    WorkerId
}

uuid_type! {
    /// Names one batch of claims. Whatever changes a claimed order must name it, so that a worker that lost its claim
    /// changes nothing.
    ClaimToken
}

impl OrderId {
    /// A fresh id.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a default that differs at each call would surprise")]
    pub fn new() -> Self {
        Self::fresh()
    }

    /// Comes before every id in use.
    pub(crate) const FIRST: Self = Self(Uuid::nil());

    /// Comes behind every id in use.
    pub(crate) const LAST: Self = Self(Uuid::max());
}

impl FromStr for OrderId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

/// Who placed an order: 1 to 2^63−1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub struct UserId(i64);

impl UserId {
    /// The first of all.
    pub(crate) const FIRST: Self = Self(1);

    /// The user with this number, or `None` below 1.
    #[must_use]
    pub fn new(id: i64) -> Option<Self> {
        (id >= 1).then_some(Self(id))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> i64 {
        self.0
    }
}

/// What was ordered: 1 to [`ItemIds::MAX`] item numbers, each 1 to 2^63−1, in the caller's order.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ItemIds(Vec<i64>);

/// Why a list is no [`ItemIds`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ItemIdsError {
    /// An order is of something.
    #[error("must name at least one item")]
    Empty,
    /// More than [`ItemIds::MAX`].
    #[error("must name at most {} items", ItemIds::MAX)]
    TooMany,
    /// The entry at this index is below 1.
    #[error("must be at least 1")]
    BelowOne(usize),
}

impl ItemIds {
    /// Items that one order can name. It bounds a row to some 20 kB and a batch of rows to the packets that every
    /// server accepts.
    pub const MAX: usize = 1_000;

    /// Checks the list.
    pub fn new(ids: Vec<i64>) -> Result<Self, ItemIdsError> {
        if ids.is_empty() {
            return Err(ItemIdsError::Empty);
        }
        if ids.len() > Self::MAX {
            return Err(ItemIdsError::TooMany);
        }
        match ids.iter().position(|&id| id < 1) {
            Some(index) => Err(ItemIdsError::BelowOne(index)),
            None => Ok(Self(ids)),
        }
    }

    /// The numbers.
    #[must_use]
    pub fn as_slice(&self) -> &[i64] {
        &self.0
    }
}

/// Writes a JSON array with a space behind each comma, as the old program's list shows it: `[4, 6]`.
impl fmt::Display for ItemIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (index, id) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{id}")?;
        }
        f.write_str("]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_ids_rise_in_the_order_of_making() {
        let ids: Vec<_> = (0..1_000).map(|_| OrderId::new()).collect();

        assert!(ids.is_sorted());
    }

    #[test]
    fn item_ids_are_written_as_the_old_program_wrote_them() {
        let written = ItemIds::new(vec![4, 6]).map(|ids| ids.to_string());

        assert_eq!(written.as_deref(), Ok("[4, 6]"));
    }

    #[test]
    fn item_ids_have_bounds() {
        assert_eq!(ItemIds::new(vec![]), Err(ItemIdsError::Empty));
        assert_eq!(ItemIds::new(vec![1, 0]), Err(ItemIdsError::BelowOne(1)));
        assert!(ItemIds::new(vec![i64::MAX; ItemIds::MAX]).is_ok());
        assert_eq!(ItemIds::new(vec![1; ItemIds::MAX + 1]), Err(ItemIdsError::TooMany));
    }
}
