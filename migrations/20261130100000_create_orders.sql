-- One row is one order, and the queue is this table: no second copy of an order exists. "Never" is 9999-12-31 and "nobody" is
-- sixteen zeros, so that an order is claimed and completed where it stands: what these write has one size.
create table orders (
    -- A version 7 UUID made by the API: time-ordered, so inserts append, and no two databases make the same one.
    order_id binary(16) not null,

    user_id bigint not null,
    item_ids json not null,

    -- Money is never a float: 14 digits before the point, 4 after it (ISO 4217 knows no currency with more).
    total_amount decimal(18, 4) not null,

    -- ISO 4217; null where the caller did not say. No check: a later release may know more currencies than this one.
    currency char(3) character set ascii collate ascii_bin,

    -- The caller's own number, to be shown; `external_ids` keeps it unique.
    external_id varchar(64) character set utf8mb4 collate utf8mb4_bin,

    -- The caller's own notes: an object of strings; null where there are none.
    metadata json,

    -- When its client wants it processed at the earliest; null means at once.
    process_after datetime(6),

    status enum('PENDING', 'PROCESSING', 'COMPLETED', 'FAILED', 'CANCELED') not null default 'PENDING',

    -- Where `orders_by_status` has the order: one that is claimed stands where it will stand when it is completed, so that
    -- completion changes no index. `claims` leads to those.
    listed_as enum('PENDING', 'COMPLETED', 'FAILED', 'CANCELED')
        generated always as (if(status = 'PROCESSING', 'COMPLETED', status)) stored,

    -- The attempt under way while PROCESSING, otherwise the attempts used. A claim adds one; a release or a rescue, which are
    -- not the order's fault, take it back.
    attempt smallint unsigned not null default 0,

    -- How often the order was taken back from a dead worker: apart from attempts, as it may have killed the worker.
    rescues tinyint unsigned not null default 0,

    -- Why the last attempt failed.
    last_error varchar(1000),

    -- When a worker may claim the order, by the database's clock; never in every status but PENDING.
    available_at datetime(6) not null default current_timestamp(6),

    -- The batch that claimed the order last: whatever ends its PROCESSING must name this token.
    claim_token binary(16) not null default '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0',

    -- The worker that claimed the order last; no row of `workers` with this id means that it is dead.
    worker_id binary(16) not null default '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0',

    claimed_at datetime(6) not null default '9999-12-31 00:00:00',

    -- A COMPLETED order does not change any more.
    completed_at datetime(6) generated always as (if(status = 'COMPLETED', updated_at, null)) virtual,

    created_at datetime(6) not null default current_timestamp(6),
    updated_at datetime(6) not null default current_timestamp(6),

    primary key (order_id),

    -- Serves the claim (store/queue/claim.rs) and the lists by status (store/orders/list.rs): the waiting orders in the order
    -- of claiming, and beside them those of every other status in the order of placing.
    key orders_by_status (listed_as, available_at, created_at, order_id),

    -- Serve the lists (store/orders/list.rs), the newest order last.
    key orders_by_time (created_at, order_id),
    key orders_by_user (user_id, created_at, order_id),

    constraint orders_are_available_only_while_pending
        check (status = 'PENDING' or available_at = timestamp '9999-12-31 00:00:00'),
    constraint orders_are_claimed_while_processing
        check (status <> 'PROCESSING' or claim_token <> '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0')
) engine = InnoDB default character set = utf8mb4
