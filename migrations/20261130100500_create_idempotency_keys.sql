-- What was created under an Idempotency-Key: written in the transaction of its orders, read when the key comes again.
create table idempotency_keys (
    -- SHA-256 of the key: of one size, and compared byte for byte.
    key_hash binary(32) not null,

    -- SHA-256 of the operation and of what its body means.
    fingerprint binary(32) not null,

    -- The ids of the orders, one behind the other in the order of the body: 1 to 500 of 16 bytes.
    order_ids varbinary(8000) not null,

    created_at datetime(6) not null default current_timestamp(6),

    primary key (key_hash),

    -- Serves the pruning (store/orders/keys.rs).
    key idempotency_keys_by_age (created_at)
) engine = InnoDB default character set = utf8mb4
