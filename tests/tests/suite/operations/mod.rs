//! What operators do and see: migrations and upgrades, the doctor, metrics and logs, backups, the deployment.

mod compose;
mod counts;
mod doctor;
mod endpoints;
mod logs;
mod mariadb_backup;
mod metrics;
mod migrations;
mod printed;
mod tasks;
mod tour;
mod versions;
