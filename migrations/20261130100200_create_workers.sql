-- One row is one live worker process. A worker is declared dead by deleting its row, and learns of it by its next
-- heartbeat, which finds no row.
create table workers (
    -- Made afresh at each registration, so that a restarted process is another worker.
    worker_id binary(16) not null,

    -- For people.
    host varchar(255) not null,
    pid int unsigned not null,
    version varchar(64) not null,

    -- How many orders it can work on at once, and on how many it did at the last heartbeat.
    slots int unsigned not null,
    busy int unsigned not null default 0,

    started_at datetime(6) not null default current_timestamp(6),
    heartbeat_at datetime(6) not null default current_timestamp(6),

    -- Since when no heartbeat came late. Only a worker that is steady for a while may declare others dead: what made its
    -- own heartbeats late, such as an outage of the database, made theirs late too.
    steady_since datetime(6) not null default current_timestamp(6),

    -- Without a heartbeat until then it is dead, by the database's clock.
    expires_at datetime(6) not null,

    -- Where the API tells this worker that orders are there, as `address:port`; null for one that only polls. Not checked: a
    -- datagram that reaches nobody does no harm.
    wakeup_address varchar(64) character set ascii collate ascii_bin,

    primary key (worker_id)
) engine = InnoDB default character set = utf8mb4
