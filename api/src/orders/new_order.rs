use std::collections::HashMap;

use chrono::{DateTime, Utc};
use orders_shared::domain::{
    Amount, AmountError, Currency, ExternalId, ItemIds, ItemIdsError, Metadata, MetadataError, NewOrder, OneOrMore,
    OrderId, UserId,
};
use poem_openapi::Object;
use serde_json::value::RawValue;

use crate::edge::Shape;
use crate::wire::amount::AmountNumber;
use crate::wire::fields::{Entries, Fields, Pointer};
use crate::wire::time::{Time, TimeError};

/// Maximum number of orders in a batch.
pub(crate) const BATCH_MAX: usize = 500;

/// An order to create, in the form of the first release.
#[derive(Object)]
pub(crate) struct CreateOrder {
    /// The user who places the order.
    #[oai(validator(minimum(value = "1")))]
    user_id: i64,
    /// The ordered items, in any sequence; an item may appear several times.
    #[oai(validator(min_items = 1, max_items = 1000))]
    item_ids: Vec<i64>,
    /// The price of the order.
    total_amount: AmountNumber,
    /// The earliest time at which a worker may process the order (RFC 3339, from 1970 to 9999, no leap second). If it
    /// is missing or null, the order is due at once.
    process_after: Option<DateTime<Utc>>,
}

impl Shape for CreateOrder {
    type Meaning = NewOrder;

    /// The largest order takes about 21 kB.
    const BYTES_MAX: usize = 64 << 10;

    fn read(fields: &mut Fields<'_>) -> Option<NewOrder> {
        read_order(fields, None)
    }
}

/// Reads the fields that every order has; the amount is in `currency`.
fn read_order(fields: &mut Fields<'_>, currency: Option<Currency>) -> Option<NewOrder> {
    let user_id = fields.required("user_id", read_user_id);
    let item_ids = fields.required("item_ids", read_item_ids);
    let total_amount = fields.required("total_amount", |fields, pointer, value| {
        let amount = read_amount(fields, pointer, value)?;
        if let Some(currency) = currency
            && !amount.has_decimals_within(currency.decimals())
        {
            let detail = format!("must have at most {} decimals in {currency}", currency.decimals());
            fields.fault(pointer, "too_many_decimals", detail);
        }
        Some(amount)
    });
    let process_after = fields.optional("process_after", read_time);
    Some(NewOrder {
        order_id: OrderId::new(),
        user_id: user_id?,
        item_ids: item_ids?,
        total_amount: total_amount?,
        currency,
        external_id: None,
        metadata: Metadata::default(),
        process_after,
    })
}

/// An order to create.
#[derive(Object)]
#[oai(rename = "OrderRequest")]
pub(crate) struct NewOrderBody {
    /// The user who places the order.
    #[oai(validator(minimum(value = "1")))]
    user_id: i64,
    /// The ordered items, in any sequence; an item may appear several times.
    #[oai(validator(min_items = 1, max_items = 1000))]
    item_ids: Vec<i64>,
    /// The price of the order. With a currency it has at most that currency's decimals: none in JPY, two in EUR.
    total_amount: AmountNumber,
    /// The currency of the price: an ISO 4217 code.
    #[oai(validator(pattern = "^[A-Z]{3}$"))]
    currency: Option<String>,
    /// The client's own id of the order. No second order can ever have the same.
    #[oai(validator(min_length = 1, max_length = 64))]
    external_id: Option<String>,
    /// The client's own notes: at most 50 entries, with keys of 1 to 40 characters and values of at most 500, and at
    /// most 16,384 bytes in all (as JSON without spaces, in UTF-8).
    metadata: Option<HashMap<String, String>>,
    /// The earliest time at which a worker may process the order, such as 2030-01-31T08:00:00Z (RFC 3339, from 1970 to
    /// 9999, no leap second). If it is missing or null, the order is due at once.
    process_after: Option<DateTime<Utc>>,
}

impl Shape for NewOrderBody {
    type Meaning = NewOrder;

    /// The largest order takes about 120 kB, if every character of its metadata is escaped. The rest is room to read
    /// metadata that is too large, with all entries at their longest and escaped, so that the answer names that fault.
    const BYTES_MAX: usize = 512 << 10;

    fn read(fields: &mut Fields<'_>) -> Option<NewOrder> {
        let currency = fields.optional("currency", read_currency);
        let external_id = fields.optional("external_id", read_external_id);
        let metadata = fields.optional("metadata", read_metadata);
        let order = read_order(fields, currency)?;
        Some(NewOrder { external_id, metadata: metadata.unwrap_or_default(), ..order })
    }
}

/// Orders to place together: all of them or none.
#[derive(Object)]
#[oai(rename = "OrderBatchRequest")]
pub(crate) struct BatchBody {
    /// The orders.
    #[oai(validator(min_items = 1, max_items = 500))]
    orders: Vec<NewOrderBody>,
}

impl Shape for BatchBody {
    type Meaning = OneOrMore<NewOrder>;

    /// Room for 500 orders of 8 kB; a batch of larger orders must have fewer.
    const BYTES_MAX: usize = 4 << 20;

    fn read(fields: &mut Fields<'_>) -> Option<OneOrMore<NewOrder>> {
        fields.required("orders", read_orders)
    }
}

fn read_orders(fields: &mut Fields<'_>, pointer: Pointer<'_>, value: &RawValue) -> Option<OneOrMore<NewOrder>> {
    let Ok(Entries(entries)) = serde_json::from_str::<Entries<'_, BATCH_MAX>>(value.get()) else {
        fields.fault(pointer, "not_an_array", "must be an array of orders");
        return None;
    };
    if entries.is_empty() {
        fields.fault(pointer, "too_few", "must have at least one order");
    } else if entries.len() > BATCH_MAX {
        fields.fault(pointer, "too_many", format_args!("must have at most {BATCH_MAX} orders"));
        return None;
    }
    let mut first_with: HashMap<String, usize> = HashMap::new();
    let mut orders = Vec::with_capacity(entries.len());
    for (index, entry) in entries.into_iter().enumerate() {
        let order_pointer = Pointer::Entry(&pointer, index);
        let order = fields.object(order_pointer, entry, NewOrderBody::read);
        if let Some(external_id) = order.as_ref().and_then(|order| order.external_id.as_ref())
            && let Some(first) = first_with.insert(external_id.as_str().to_owned(), index)
        {
            let detail = format!("is also the external id of {}", Pointer::Entry(&pointer, first));
            fields.fault(Pointer::Member(&order_pointer, "external_id"), "duplicate", detail);
        }
        orders.extend(order);
    }
    OneOrMore::of(orders)
}

fn read_user_id(fields: &mut Fields<'_>, pointer: Pointer<'_>, value: &RawValue) -> Option<UserId> {
    let user_id = UserId::new(fields.integer(pointer, value)?);
    if user_id.is_none() {
        fields.fault(pointer, "too_small", "must be at least 1");
    }
    user_id
}

fn read_item_ids(fields: &mut Fields<'_>, pointer: Pointer<'_>, value: &RawValue) -> Option<ItemIds> {
    let Ok(Entries(entries)) = serde_json::from_str::<Entries<'_, { ItemIds::MAX }>>(value.get()) else {
        fields.fault(pointer, "not_an_array", "must be an array of integers");
        return None;
    };
    if entries.len() > ItemIds::MAX {
        fields.fault(pointer, "too_many", ItemIdsError::TooMany);
        return None;
    }
    let mut ids = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let pointer = Pointer::Entry(&pointer, index);
        match fields.integer(pointer, entry) {
            Some(id) if id < 1 => fields.fault(pointer, "too_small", ItemIdsError::BelowOne(index)),
            Some(id) => ids.push(id),
            None => {}
        }
    }
    if ids.len() < entries.len() {
        return None;
    }
    ItemIds::new(ids).map_err(|error| fields.fault(pointer, "too_few", error)).ok()
}

fn read_amount(fields: &mut Fields<'_>, pointer: Pointer<'_>, value: &RawValue) -> Option<Amount> {
    value.get().parse().map_err(|error: AmountError| fields.fault(pointer, error.code(), error)).ok()
}

fn read_currency(fields: &mut Fields<'_>, pointer: Pointer<'_>, value: &RawValue) -> Option<Currency> {
    let code = fields.text(pointer, value)?;
    code.parse().map_err(|error| fields.fault(pointer, "not_a_currency", error)).ok()
}

fn read_external_id(fields: &mut Fields<'_>, pointer: Pointer<'_>, value: &RawValue) -> Option<ExternalId> {
    let text = fields.text(pointer, value)?;
    ExternalId::new(text).map_err(|error| fields.fault(pointer, error.code(), error)).ok()
}

fn read_metadata(fields: &mut Fields<'_>, pointer: Pointer<'_>, value: &RawValue) -> Option<Metadata> {
    fields.object(pointer, value, |pairs| {
        let (object, mut metadata) = (pairs.pointer(), Metadata::default());
        for (key, value) in pairs.members() {
            let pointer = Pointer::Member(&object, &key);
            let Some(value) = pairs.text(pointer, value) else { continue };
            match metadata.insert(key.to_string(), value) {
                Ok(()) => {}
                // All entries together are too large: that is one fault, not one for each entry.
                Err(error @ MetadataError::TooLarge) => {
                    pairs.fault(object, error.code(), error);
                    break;
                }
                Err(error) => pairs.fault(pointer, error.code(), error),
            }
        }
        Some(metadata)
    })
}

fn read_time(fields: &mut Fields<'_>, pointer: Pointer<'_>, value: &RawValue) -> Option<DateTime<Utc>> {
    let text: String = serde_json::from_str(value.get()).unwrap_or_default();
    text.parse().map(|Time(time)| time).map_err(|error: TimeError| fields.fault(pointer, error.code(), error)).ok()
}
