-- A row here stops every claim, and its deletion lets them go on; it outlives restarts.
create table queue_pauses (
    pause_id tinyint unsigned not null default 1,
    paused_at datetime(6) not null default current_timestamp(6),

    primary key (pause_id),

    constraint the_queue_is_paused_once check (pause_id = 1)
) engine = InnoDB default character set = utf8mb4
