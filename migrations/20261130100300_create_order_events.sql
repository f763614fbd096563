-- What the row of an order cannot tell: attempts that did not complete, rescues, and what people did. An order that is
-- placed, claimed and completed has no row here.
create table order_events (
    order_id binary(16) not null,
    at datetime(6) not null default current_timestamp(6),

    -- Two events of one order may share a microsecond.
    event_id binary(16) not null,

    event enum('ATTEMPT_FAILED', 'FAILED', 'RELEASED', 'RESCUED', 'RETRIED', 'CANCELED') not null,

    -- The attempt that ended with this event, who made it, and since when; null for what people did.
    attempt smallint unsigned,
    worker_id binary(16),
    claimed_at datetime(6),
    duration_us bigint unsigned,

    error varchar(1000),

    -- When the order may be claimed again; null when it may not.
    available_at datetime(6),

    -- Serves an order's story (store/orders/events.rs).
    primary key (order_id, at, event_id)
) engine = InnoDB default character set = utf8mb4
