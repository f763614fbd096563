use std::fmt;

use chrono::{DateTime, Datelike, Utc};
use orders_shared::domain::{ExternalId, OrderFilter, OrderId, OrderStatus, PageKey, StoryKey, StoryPart, UserId};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// A place in a list as callers hold it: opaque, and good for the list that it was made for only.
///
/// In hexadecimal: microseconds (16 digits), order id (32), check (16). The check covers the filters, so that a cursor that
/// was changed, or is used with other filters, is noticed. It keeps nothing secret: a cursor opens nothing.
pub(crate) fn encode(key: PageKey, filter: &OrderFilter) -> String {
    let place = format!("{:016x}{}", key.created_at.timestamp_micros(), key.order_id.uuid().simple());
    let check = check(&list(&place, filter));
    format!("{place}{check}")
}

/// The place, unless the cursor was made for another list, or by somebody else.
pub(crate) fn decode(cursor: &str, filter: &OrderFilter) -> Option<PageKey> {
    let (place, check_given) = cursor.split_at_checked(PLACE)?;
    if check_given != check(&list(place, filter)) {
        return None;
    }
    let (created_at, order_id) = time_and_id(place)?;
    Some(PageKey { created_at, order_id: order_id.into() })
}

/// A place in an order's story, likewise: microseconds, the event's id, what of it is told (a digit), check.
pub(crate) fn encode_story(key: StoryKey, order_id: OrderId) -> String {
    let part = match key.part {
        StoryPart::Placed => 0,
        StoryPart::Claim => 1,
        StoryPart::Event => 2,
        StoryPart::LastClaim => 3,
    };
    let place = format!("{:016x}{}{part}", key.at.timestamp_micros(), key.event_id.simple());
    let check = check(&(&place, order_id.uuid()));
    format!("{place}{check}")
}

/// The place, unless the cursor was made for another order's story, or by somebody else.
pub(crate) fn decode_story(cursor: &str, order_id: OrderId) -> Option<StoryKey> {
    let (place, check_given) = cursor.split_at_checked(PLACE + 1)?;
    if check_given != check(&(place, order_id.uuid())) {
        return None;
    }
    let (place, part) = place.split_at_checked(PLACE)?;
    let part = match part {
        "0" => StoryPart::Placed,
        "1" => StoryPart::Claim,
        "2" => StoryPart::Event,
        "3" => StoryPart::LastClaim,
        _ => return None,
    };
    let (at, event_id) = time_and_id(place)?;
    Some(StoryKey { at, event_id, part })
}

/// Digits of a time and an id.
const PLACE: usize = 48;

fn time_and_id(place: &str) -> Option<(DateTime<Utc>, Uuid)> {
    let (micros, id) = place.split_at_checked(16)?;
    let at = DateTime::from_timestamp_micros(i64::from_str_radix(micros, 16).ok()?)?;
    // No other time is in a column; who wants to can compute a check.
    let at = Some(at).filter(|time| (1970..=9999).contains(&time.year()))?;
    Some((at, Uuid::try_parse(id).ok()?))
}

/// A place, and all that makes its list the one that it is.
fn list(place: &str, filter: &OrderFilter) -> impl fmt::Debug {
    let OrderFilter { status, user_id, external_id, created_after, created_before } = filter;
    let micros = |time: &Option<DateTime<Utc>>| time.map(|time| time.timestamp_micros());
    (
        place.to_owned(),
        status.map(OrderStatus::name),
        user_id.map(UserId::get),
        micros(created_after),
        micros(created_before),
        external_id.as_ref().map(ExternalId::as_str),
    )
}

fn check(of: &impl fmt::Debug) -> String {
    let digest = Sha256::digest(format!("{of:?}"));
    hex::encode(digest).chars().take(16).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_cursor_of_a_story_serves_its_order_only() {
        let (order_id, at) = (OrderId::new(), DateTime::from_timestamp_micros(1_763_890_000_123_456).unwrap());
        for part in [StoryPart::Placed, StoryPart::Claim, StoryPart::Event, StoryPart::LastClaim] {
            let key = StoryKey { at, event_id: Uuid::now_v7(), part };
            let cursor = encode_story(key, order_id);

            assert_eq!(decode_story(&cursor, order_id), Some(key));
            assert_eq!(decode_story(&cursor, OrderId::new()), None);
            for place in 0..cursor.len() {
                let other = if cursor.as_bytes()[place] == b'0' { "1" } else { "0" };
                let mut changed = cursor.clone();
                changed.replace_range(place..=place, other);

                assert_eq!(decode_story(&changed, order_id), None, "{changed}");
            }
        }
        let of_a_list = encode(PageKey { created_at: at, order_id }, &OrderFilter::default());
        assert_eq!(decode_story(&of_a_list, order_id), None);
    }
}
