-- Which orders a worker may hold: a row for each claim, written in its transaction, and taken away some time after the last
-- of its orders has left PROCESSING. Leads to the orders in work, and to those of dead workers; whether a claim still
-- holds, the order itself says.
create table claims (
    -- Tokens rise with time.
    claim_token binary(16) not null,

    worker_id binary(16) not null,

    -- In hexadecimal.
    order_ids json not null,

    primary key (claim_token)
) engine = InnoDB default character set = utf8mb4
