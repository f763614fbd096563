-- What the work on an order produced. A row is written with the completion of its order, and only if there is a result, and is
-- read only where one order is.
create table order_results (
    order_id binary(16) not null,

    -- JSON of at most 4,096 bytes, as the work wrote it: the type JSON would give numbers and objects a form of its own.
    result text character set utf8mb4 collate utf8mb4_bin not null,

    primary key (order_id)
) engine = InnoDB default character set = utf8mb4
