-- How a worker processes orders, and whether it sends them to its service.
alter table workers
    -- simulated, rust or http; null in a row of a release that did not say.
    add column processor varchar(16) character set ascii collate ascii_bin,

    -- closed, open or half_open, since when, and why; null unless it pushes orders to a service.
    add column breaker varchar(16) character set ascii collate ascii_bin,
    add column breaker_since datetime(6),
    add column breaker_reason varchar(255),

    algorithm = instant
