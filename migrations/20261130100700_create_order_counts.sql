-- How many orders stand where, kept in the transactions that move them: the sum of all rows is exact at any moment, and
-- costs the same however many orders there are. A row counts what some connections moved, so that two of them seldom wait
-- for one another; by itself it means nothing, and may be negative.
create table order_counts (
    shard tinyint unsigned not null,

    pending bigint not null,
    processing bigint not null,
    completed bigint not null,
    failed bigint not null,
    canceled bigint not null,

    -- From creation to completion, summed over all completed orders. A bigint of microseconds holds 292,000 years: a
    -- hundred million orders that were each placed a day ahead.
    processing_us decimal(30, 0) not null,

    primary key (shard)
) engine = InnoDB
