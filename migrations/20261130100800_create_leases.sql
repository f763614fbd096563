-- One row is one chore that only one worker does at a time. It holds the lease for as long as it has a row in `workers`: no
-- clock tells when another one may take over, and one that ends in good order leaves the lease at once.
create table leases (
    -- As the program names it.
    chore varchar(64) character set ascii collate ascii_bin not null,

    -- Who does it, or did so last.
    worker_id binary(16) not null,

    -- Since when, for people.
    taken_at datetime(6) not null default current_timestamp(6),

    primary key (chore)
) engine = InnoDB default character set = utf8mb4
