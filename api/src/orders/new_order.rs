use std::collections::HashMap;

use chrono::{DateTime, Utc};
use orders_shared::domain::{
    Amount, AmountError, Currency, ExternalId, ItemIds, ItemIdsError, Metadata, MetadataError, NewOrder, OrderId,
    UserId,
};
use poem_openapi::Object;
use serde_json::value::RawValue;

use crate::edge::Shape;
use crate::wire::amount::AmountNumber;
use crate::wire::fields::{Entries, Fields, Pointer};
use crate::wire::time::{NotATime, Time};

/// Orders that one batch creates at most.
pub(crate) const BATCH_MAX: usize = 500;

/// An order to create, as the first release of this API had it.
#[derive(Object)]
pub(crate) struct CreateOrder {
    /// Who places the order.
    #[oai(validator(minimum(value = "1")))]
    user_id: i64,
    /// What is ordered, in any order; a number may stand several times.
    #[oai(validator(min_items = 1, max_items = 1000))]
    item_ids: Vec<i64>,
    /// What it costs.
    total_amount: AmountNumber,
    /// When a worker may process the order at the earliest (RFC 3339, from 1970 to 9999, no leap second); at once where it is
    /// missing or null.
    process_after: Option<DateTime<Utc>>,
}

impl Shape for CreateOrder {
    type Meaning = NewOrder;

    /// The largest order takes some 21 kB.
    const BYTES_MAX: usize = 64 << 10;

    fn read(fields: &mut Fields<'_>) -> Option<NewOrder> {
        read_order(fields, None)
    }
}

/// An order without labels, its amount in `currency`.
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
    /// Who places the order.
    #[oai(validator(minimum(value = "1")))]
    user_id: i64,
    /// What is ordered, in any order; a number may stand several times.
    #[oai(validator(min_items = 1, max_items = 1000))]
    item_ids: Vec<i64>,
    /// What it costs. With a currency it has at most the decimals of that currency: none in JPY, two in EUR.
    total_amount: AmountNumber,
    /// In which currency: a code of ISO 4217.
    #[oai(validator(pattern = "^[A-Z]{3}$"))]
    currency: Option<String>,
    /// The caller's own number of the order, which no second order can ever have.
    #[oai(validator(min_length = 1, max_length = 64))]
    external_id: Option<String>,
    /// The caller's own notes: at most 50 entries, keys of 1 to 40 characters, values of at most 500, and 16,384 bytes in all,
    /// as JSON without spaces, in UTF-8.
    metadata: Option<HashMap<String, String>>,
    /// When a worker may process the order at the earliest, such as 2030-01-31T08:00:00Z (RFC 3339, from 1970 to 9999, no leap
    /// second); at once where it is missing or null.
    process_after: Option<DateTime<Utc>>,
}

impl Shape for NewOrderBody {
    type Meaning = NewOrder;

    /// The largest order takes some 120 kB, where each character of its metadata is escaped. What is larger for the sake of its
    /// metadata is told so, up to the longest entries, all escaped.
    const BYTES_MAX: usize = 512 << 10;

    fn read(fields: &mut Fields<'_>) -> Option<NewOrder> {
        let currency = fields.optional("currency", read_currency);
        let external_id = fields.optional("external_id", read_external_id);
        let metadata = fields.optional("metadata", read_metadata);
        let order = read_order(fields, currency)?;
        Some(NewOrder { external_id, metadata: metadata.unwrap_or_default(), ..order })
    }
}

/// Orders to create together: all of them or none.
#[derive(Object)]
#[oai(rename = "OrderBatchRequest")]
pub(crate) struct BatchBody {
    /// The orders.
    #[oai(validator(min_items = 1, max_items = 500))]
    orders: Vec<NewOrderBody>,
}

impl Shape for BatchBody {
    type Meaning = Vec<NewOrder>;

    /// Room for 8 kB an order; with larger ones a batch has fewer.
    const BYTES_MAX: usize = 4 << 20;

    fn read(fields: &mut Fields<'_>) -> Option<Vec<NewOrder>> {
        fields.required("orders", read_orders)
    }
}

fn read_orders(fields: &mut Fields<'_>, pointer: Pointer<'_>, value: &RawValue) -> Option<Vec<NewOrder>> {
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
            let detail = format!("is that of {} too", Pointer::Entry(&pointer, first));
            fields.fault(Pointer::Member(&order_pointer, "external_id"), "duplicate", detail);
        }
        orders.extend(order);
    }
    Some(orders)
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
                // It is the fault of all of them, and said once.
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
    text.parse().map(|Time(time)| time).map_err(|error: NotATime| fields.fault(pointer, error.code, error)).ok()
}
