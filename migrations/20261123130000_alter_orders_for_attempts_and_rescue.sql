alter table orders
    -- What the API calls it: the time from which a worker may claim the order.
    drop constraint orders_are_due_only_while_pending,
    rename column due_at to available_at,

    -- When its client wants it processed at the earliest; null means at once.
    add column process_after datetime(6) after total_amount,

    -- `attempt` is from now on the attempt under way while PROCESSING, otherwise the attempts used: a claim adds one, and
    -- a release or a rescue, which are not the order's fault, take it back.
    --
    -- How often the order was taken back from a dead worker: apart from attempts, as it may have killed the worker.
    add column rescues tinyint unsigned not null default 0 after attempt,

    -- Why the last attempt failed.
    add column last_error varchar(1000) after rescues,

    -- The worker that claimed the order last; no row of `workers` with this id means that it is dead.
    add column worker_id binary(16) after claim_token,

    add constraint orders_are_available_only_while_pending check ((status = 'PENDING') = (available_at is not null))
