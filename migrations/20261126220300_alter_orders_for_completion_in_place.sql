alter table orders
    -- When a worker may claim the order; the end of time in every status but PENDING.
    modify column available_at datetime(6) not null default current_timestamp(6),

    -- The batch that claimed the order last: whatever ends its PROCESSING must name this token. Zeros before the first claim.
    modify column claim_token binary(16) not null default '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0',

    -- The worker that claimed the order last; no row of `workers` with this id means that it is dead. Zeros before the first
    -- claim.
    modify column worker_id binary(16) not null default '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0',

    -- The end of time before the first claim.
    modify column claimed_at datetime(6) not null default '9999-12-31 00:00:00',

    -- A COMPLETED order does not change any more.
    drop column completed_at,
    add column completed_at datetime(6) generated always as (if(status = 'COMPLETED', updated_at, null)) virtual
        after claimed_at,

    -- Where the index below has the order: one that is claimed stands where it will stand when it is completed, so that
    -- completion changes no index. `claims` leads to those.
    add column listed_as enum('PENDING', 'COMPLETED', 'FAILED', 'CANCELED')
        generated always as (if(status = 'PROCESSING', 'COMPLETED', status)) stored after status,

    -- Serves the claim (store/claim.rs) and the lists by status (store/list.rs): the waiting orders in the order of claiming,
    -- and beside them those of every other status in the order of placing.
    drop key orders_by_status,
    add key orders_by_status (listed_as, available_at, created_at, order_id),

    add constraint orders_are_available_only_while_pending
        check (status = 'PENDING' or available_at = timestamp '9999-12-31 00:00:00'),
    add constraint orders_are_claimed_while_processing
        check (status <> 'PROCESSING' or claim_token <> '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0')
