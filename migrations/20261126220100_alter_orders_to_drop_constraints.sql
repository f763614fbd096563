-- What the next two migrations change: what was null gets values.
alter table orders
    drop constraint orders_are_available_only_while_pending,
    drop constraint orders_are_claimed_only_while_processing,
    drop constraint orders_are_completed_once,

    -- So that what is placed meanwhile has them already.
    alter column claim_token set default '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0',
    alter column worker_id set default '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0',
    alter column claimed_at set default '9999-12-31 00:00:00'
