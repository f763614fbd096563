//! The migrations, and whether a database has them.

use std::collections::BTreeSet;
use std::fmt;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Acquire, MySqlConnection};

use super::session::Long;
use crate::store::{Store, StoreError};

/// Every migration, as it stood when this binary was built.
static MIGRATIONS: Migrator = {
    let mut migrator = sqlx::migrate!("../migrations");
    // The driver locks with GET_LOCK(…, -1), which MariaDB answers at once with NULL: it locks nothing.
    migrator.locking = false;
    migrator
};

/// The schema was rewritten with this one; there is no migration from an earlier schema.
const FIRST_MIGRATION: i64 = 20_261_130_100_000;

/// How long one migrator waits for another: migrating a large table takes time.
const LOCK_WAIT_SECS: u32 = 3_600;

/// The database's schema, seen from this binary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemaState {
    /// Exactly the migrations that this binary knows.
    Current,
    /// Migrations are missing.
    Older,
    /// The database has this migration, and perhaps more, that this binary does not know.
    Newer(i64),
    /// It was made by a build older than the first migration.
    Unreleased,
    /// A migration was cut short.
    Unfinished(i64),
}

impl fmt::Display for SchemaState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current => f.write_str("the schema is current"),
            Self::Older => f.write_str("the schema is older than this binary: run `orders-api migrate`"),
            Self::Newer(version) => write!(
                f,
                "the schema is newer than this binary, which does not know migration {version}: run a newer release"
            ),
            Self::Unreleased => f.write_str(
                "this database was made by a build that was never released: delete it (`drop database`; of Docker \
                 Compose: `docker compose down --volumes`; of `cargo xtask up`: the folder `.data` or the Docker volume \
                 `orders-up-…`), create it anew, and run `orders-api migrate`",
            ),
            Self::Unfinished(version) => write!(
                f,
                "migration {version} was cut short: see whether its statement took effect, undo it if so, delete the \
                 migration's row from _sqlx_migrations, and run `orders-api migrate`"
            ),
        }
    }
}

impl Store {
    /// Migrates the schema to the version of this binary, one process at a time. Returns the connection that keeps the
    /// others waiting until it is closed.
    pub(in crate::store) async fn migrate_schema(&self) -> Result<MySqlConnection, StoreError> {
        let migrated = async {
            let mut connection = self.long_connection(Long::Migration).await?;
            lock(&mut connection).await?;
            MIGRATIONS.run_direct(None, connection.acquire().await?, false).await?;
            Ok(connection)
        };
        migrated.await.map_err(|error| {
            let cause = match error {
                MigrateError::Execute(cause) => cause,
                MigrateError::VersionMissing(version) if version < FIRST_MIGRATION => {
                    configuration(SchemaState::Unreleased)
                }
                MigrateError::VersionMissing(version) => configuration(SchemaState::Newer(version)),
                MigrateError::Dirty(version) => configuration(SchemaState::Unfinished(version)),
                other => sqlx::Error::Migrate(Box::new(other)),
            };
            StoreError::when("migrate the database")(cause)
        })
    }

    /// Compares the database's schema with the migrations that this binary knows.
    pub async fn schema_state(&self) -> Result<SchemaState, StoreError> {
        self.call("check the schema", async |connection| {
            let tables: i64 = sqlx::query_scalar(MIGRATIONS_TABLE).fetch_one(&mut *connection).await?;
            let applied: Vec<(i64, bool)> =
                if tables == 0 { Vec::new() } else { sqlx::query_as(APPLIED).fetch_all(&mut *connection).await? };
            Ok(compare(&applied))
        })
        .await
    }
}

const MIGRATIONS_TABLE: &str = r"
    select count(*)
    from information_schema.tables
    where table_schema = database() and table_name = '_sqlx_migrations'
";

const APPLIED: &str = "select version, success from _sqlx_migrations order by version";

/// The name of a lock has at most 64 characters, and is shared by all databases of a server.
const LOCK: &str = "select get_lock(concat('orders.migrate.', left(sha2(database(), 256), 40)), ?)";

async fn lock(connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
    let locked: Option<i64> = sqlx::query_scalar(LOCK).bind(LOCK_WAIT_SECS).fetch_one(connection).await?;
    if locked == Some(1) { Ok(()) } else { Err(configuration("another migration is still running")) }
}

fn configuration(why: impl fmt::Display) -> sqlx::Error {
    sqlx::Error::Configuration(why.to_string().into())
}

fn compare(applied: &[(i64, bool)]) -> SchemaState {
    if let Some((version, _)) = applied.iter().find(|(_, success)| !success) {
        return SchemaState::Unfinished(*version);
    }
    if applied.first().is_some_and(|(version, _)| *version < FIRST_MIGRATION) {
        return SchemaState::Unreleased;
    }
    let known: BTreeSet<i64> = MIGRATIONS.iter().map(|migration| migration.version).collect();
    let applied: BTreeSet<i64> = applied.iter().map(|(version, _)| *version).collect();
    if let Some(unknown) = applied.difference(&known).last() {
        SchemaState::Newer(*unknown)
    } else if applied == known {
        SchemaState::Current
    } else {
        SchemaState::Older
    }
}
