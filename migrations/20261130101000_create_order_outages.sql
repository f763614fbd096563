-- One row is one order that waits since what its work depends on is away. It goes with the next attempt that ends in another
-- way. Programs of a release before this one leave it behind: beside an order that is not PENDING it means nothing.
create table order_outages (
    order_id binary(16) not null,

    -- The first time in a row that what the work depends on was away, and how many times it was.
    since datetime(6) not null,
    times int unsigned not null,

    -- The event of the last time, which replaces the one before unless that is the first.
    last_at datetime(6) not null,
    last_event_id binary(16) not null,

    primary key (order_id)
) engine = InnoDB default character set = utf8mb4
