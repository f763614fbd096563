use chrono::{DateTime, Datelike};
use orders_shared::domain::{ExternalId, OrderFilter, OrderStatus, PageKey, UserId};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// A place in a list as callers hold it: opaque, and good for the list that it was made for only.
///
/// In hexadecimal: microseconds (16 digits), order id (32), check (16). The check covers the filters, so that a cursor that
/// was changed, or is used with other filters, is noticed. It keeps nothing secret: a cursor opens nothing.
pub(crate) fn encode(key: PageKey, filter: &OrderFilter) -> String {
    let place = format!("{:016x}{}", key.created_at.timestamp_micros(), key.order_id.uuid().simple());
    let check = check(&place, filter);
    format!("{place}{check}")
}

/// The place, unless the cursor was made for another list, or by somebody else.
pub(crate) fn decode(cursor: &str, filter: &OrderFilter) -> Option<PageKey> {
    let (place, check_given) = cursor.split_at_checked(48)?;
    if check_given != check(place, filter) {
        return None;
    }
    let (micros, order_id) = place.split_at_checked(16)?;
    let created_at = DateTime::from_timestamp_micros(i64::from_str_radix(micros, 16).ok()?)?;
    // No other time is in a column; who wants to can compute a check.
    let created_at = Some(created_at).filter(|time| (1970..=9999).contains(&time.year()))?;
    Some(PageKey { created_at, order_id: Uuid::try_parse(order_id).ok()?.into() })
}

fn check(place: &str, filter: &OrderFilter) -> String {
    let OrderFilter { status, user_id, external_id, created_after, created_before } = filter;
    let micros = |time: &Option<DateTime<chrono::Utc>>| time.map(|time| time.timestamp_micros());
    let list = (
        place,
        status.map(OrderStatus::name),
        user_id.map(UserId::get),
        micros(created_after),
        micros(created_before),
        external_id.as_ref().map(ExternalId::as_str),
    );
    let digest = Sha256::digest(format!("{list:?}"));
    hex::encode(digest).chars().take(16).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use orders_shared::domain::OrderId;

    fn key() -> PageKey {
        PageKey {
            created_at: DateTime::from_timestamp_micros(1_763_890_000_123_456).unwrap(),
            order_id: OrderId::new(),
        }
    }

    #[test]
    fn a_cursor_leads_back_to_its_place() {
        let filter = OrderFilter { status: Some(OrderStatus::Failed), ..OrderFilter::default() };
        let key = key();

        assert_eq!(decode(&encode(key, &filter), &filter), Some(key));
    }

    #[test]
    fn a_cursor_serves_its_own_list_only() {
        let all = OrderFilter::default();
        let cursor = encode(key(), &all);

        for filter in [
            OrderFilter { status: Some(OrderStatus::Failed), ..all.clone() },
            OrderFilter { user_id: UserId::new(1), ..all.clone() },
            OrderFilter { created_after: DateTime::from_timestamp(1, 0), ..all.clone() },
            OrderFilter { created_before: DateTime::from_timestamp(1, 0), ..all.clone() },
        ] {
            assert_eq!(decode(&cursor, &filter), None, "{filter:?}");
        }
    }

    #[test]
    fn a_changed_cursor_is_noticed() {
        let filter = OrderFilter::default();
        let cursor = encode(key(), &filter);

        for place in 0..cursor.len() {
            let other = if cursor.as_bytes()[place] == b'0' { "1" } else { "0" };
            let mut changed = cursor.clone();
            changed.replace_range(place..=place, other);

            assert_eq!(decode(&changed, &filter), None, "{changed}");
        }
        for text in ["", "0", "é", &cursor[1..], &format!("{cursor}0"), &cursor.to_uppercase()] {
            assert_eq!(decode(text, &filter), None, "{text}");
        }
    }
}
