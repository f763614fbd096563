-- What was null has a value of the same size from now on, so that an order is claimed and completed where it stands.
update orders
set available_at = coalesce(available_at, timestamp '9999-12-31 00:00:00'),
    claim_token = coalesce(claim_token, repeat('\0', 16)),
    worker_id = coalesce(worker_id, repeat('\0', 16)),
    claimed_at = coalesce(claimed_at, timestamp '9999-12-31 00:00:00')
