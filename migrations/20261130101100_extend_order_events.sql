-- Errors have a class, and perhaps the answer of the service that says so; what is away for a time is told by its first and
-- its last event, which counts the times. New columns and values at the end need no copy of the table.
alter table order_events
    modify column event enum(
        'ATTEMPT_FAILED', 'FAILED', 'RELEASED', 'RESCUED', 'RETRIED', 'CANCELED', 'UNAVAILABLE'
    ) not null,

    -- The kind of error, for programs.
    add column error_class varchar(32) character set ascii collate ascii_bin,

    -- The status of an answer over HTTP, and the first 1,024 bytes of its body.
    add column http_status smallint unsigned,
    add column http_body varchar(1024),

    -- How many times in a row what the work depends on has been away.
    add column times int unsigned,

    algorithm = instant
