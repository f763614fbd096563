-- One row is one order, and the queue is this table: no second copy of an order exists.
create table orders (
    -- A version 7 UUID made by the API: time-ordered, so inserts append, and no two databases make the same one.
    order_id binary(16) not null,

    user_id bigint not null,
    item_ids json not null,

    -- Money is never a float: 14 digits before the point, 4 after it (ISO 4217 knows no currency with more).
    total_amount decimal(18, 4) not null,

    status enum('PENDING', 'PROCESSING', 'COMPLETED', 'FAILED', 'CANCELED') not null default 'PENDING',

    -- How many times the order has been claimed.
    attempt smallint unsigned not null default 0,

    -- When a worker may claim the order, by the database's clock. Null in every other status, so that one index
    -- holds the queue in the order of claiming and, beside it, the other statuses in the order of placing.
    due_at datetime(6) default current_timestamp(6),

    -- The batch that claimed the order: whatever finishes it must name this token.
    claim_token binary(16),

    claimed_at datetime(6),
    completed_at datetime(6),
    created_at datetime(6) not null default current_timestamp(6),
    updated_at datetime(6) not null default current_timestamp(6),

    primary key (order_id),

    -- Serves the claim (store/claim.rs) and the lists by status (store/list.rs).
    key orders_by_status (status, due_at, order_id),

    constraint orders_are_due_only_while_pending check ((status = 'PENDING') = (due_at is not null)),
    constraint orders_are_claimed_only_while_processing check ((status = 'PROCESSING') = (claim_token is not null)),
    constraint orders_are_completed_once check ((status = 'COMPLETED') = (completed_at is not null))
) engine = InnoDB default character set = utf8mb4
