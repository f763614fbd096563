alter table workers
    -- Where this worker hears that orders are there, as `address:port`; null for one that has to look for itself. Not
    -- checked: a ring that reaches nobody does no harm.
    add column bell varchar(64) character set ascii collate ascii_bin
