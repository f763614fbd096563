-- Which order has which external id: written in the transaction of its order. A table of its own, as few orders need have
-- one, and those without neither pay for an index entry nor wait for a lock that is about somebody else's.
create table external_ids (
    -- The caller's own number, which no second order ever has.
    external_id varchar(64) character set utf8mb4 collate utf8mb4_bin not null,

    order_id binary(16) not null,

    -- Serves the lookups (store/orders/external_ids.rs).
    primary key (external_id)
) engine = InnoDB default character set = utf8mb4
