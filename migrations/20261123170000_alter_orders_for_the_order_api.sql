alter table orders
    -- ISO 4217; null where the caller did not say. No check: a later release may know more currencies than this one.
    add column currency char(3) character set ascii collate ascii_bin after total_amount,

    -- The caller's own number, to be shown; `external_ids` keeps it unique.
    add column external_id varchar(64) character set utf8mb4 collate utf8mb4_bin after currency,

    -- The caller's own notes: an object of strings; null where there are none.
    add column metadata json after external_id,

    -- Serve the lists (store/list.rs), the newest order last.
    add key orders_by_time (created_at, order_id),
    add key orders_by_user (user_id, created_at, order_id),

    -- Serves the claim (store/claim.rs) and the lists by status: the waiting orders in the order of claiming, and beside
    -- them, where `available_at` is null, those of every other status in the order of placing.
    drop key orders_by_status,
    add key orders_by_status (status, available_at, created_at, order_id)
