//! Opening the database: one connection that writes, a pool that cannot.

use std::io;
use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, SqliteConnection, SqlitePool};
use trainyard_faults::{Place, Promise};

use super::Result;
use crate::store::OpenError;

/// The first SQLite in which connections that write or checkpoint at once cannot corrupt a WAL database.
const OLDEST_SQLITE: [u32; 3] = [3, 51, 3];

/// Connections for reading.
const READERS: u32 = 8;

/// What [`options`] give a connection.
const BUSY_TIMEOUT: &str = "PRAGMA busy_timeout = 10000";

fn options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(file).foreign_keys(true).busy_timeout(Duration::from_secs(10))
}

/// The pages that the writer remembers, in KiB (negative, as SQLite has it): those at the ends of all series that are being written to.
const WRITER_CACHE: &str = "-16384";

/// The connection that writes. WAL, and an fsync at every commit.
pub(crate) async fn writer(file: &Path) -> Result<SqliteConnection> {
    let synchronous = match trainyard_faults::is_broken(Promise::Fsync) {
        true => SqliteSynchronous::Off,
        false => SqliteSynchronous::Full,
    };
    let options = options(file)
        .pragma("cache_size", WRITER_CACHE)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous);
    Ok(options.connect().await?)
}

/// The connections that read. They cannot write, whatever they are asked.
pub(crate) async fn readers(file: &Path) -> Result<SqlitePool> {
    let pool = SqlitePoolOptions::new().max_connections(READERS).min_connections(1).acquire_timeout(Duration::from_secs(30));
    Ok(pool.connect_with(options(file).read_only(true)).await?)
}

/// Refuses an SQLite that is too old to be trusted with several connections.
pub(crate) async fn check_version(conn: &mut SqliteConnection) -> std::result::Result<(), OpenError> {
    let found =
        sqlx::query_scalar!(r#"SELECT sqlite_version() AS "version!: String""#).fetch_one(conn).await.map_err(super::StoreError::from)?;
    if is_new_enough(&found) { Ok(()) } else { Err(OpenError::SqliteTooOld { found }) }
}

fn is_new_enough(version: &str) -> bool {
    let parts: Option<Vec<u32>> = version.split('.').map(|part| part.parse().ok()).collect();
    parts.is_some_and(|parts| parts.as_slice() >= OLDEST_SQLITE.as_slice())
}

/// Brings the tables up to date.
pub(crate) async fn migrate(conn: &mut SqliteConnection) -> std::result::Result<(), sqlx::migrate::MigrateError> {
    sqlx::migrate!("../migrations").run(conn).await
}

/// Moves the write-ahead log into the database and truncates it; answers whether it is empty then. Not inside a transaction. Readers may
/// hold it up, and with it all writes, for a quarter of a second and no longer: a backup reads for as long as it takes.
pub(crate) async fn checkpoint(conn: &mut SqliteConnection) -> Result<bool> {
    trainyard_faults::at(Place::CheckpointBefore)?;
    sqlx::query("PRAGMA busy_timeout = 250").execute(&mut *conn).await?;
    let done = sqlx::query_scalar::<_, i64>("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut *conn).await;
    sqlx::query(BUSY_TIMEOUT).execute(conn).await?;
    let emptied = done? == 0;
    trainyard_faults::at(Place::CheckpointAfter)?;
    Ok(emptied)
}

/// Copies the database as it is now into a new file, in one read transaction. Not inside another one.
pub(crate) async fn copy_into(conn: &mut SqliteConnection, file: &Path) -> Result<()> {
    let name = file.to_str().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the data folder's path is not UTF-8"))?;
    sqlx::query("VACUUM INTO ?").bind(name).execute(conn).await?;
    Ok(())
}

/// A connection to a database that nobody writes to, which reads it and leaves no file beside it.
pub(crate) async fn at_rest(file: &Path) -> Result<SqliteConnection> {
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    // What a server that was killed left in the write-ahead log belongs to the database. SQLite reads it only where it may make its
    // index file beside it.
    let log = file.with_extension("db-wal");
    let has_log = tokio::fs::metadata(&log).await.is_ok_and(|log| log.len() > 0);
    Ok(options.immutable(!has_log).connect().await?)
}

#[cfg(test)]
mod tests {
    use super::is_new_enough;

    #[test]
    fn an_sqlite_before_3_51_3_is_refused() {
        assert!(!is_new_enough("3.51.2"));
        assert!(!is_new_enough("3.9.9"));
        assert!(!is_new_enough("unknown"));
        assert!(is_new_enough("3.51.3"));
        assert!(is_new_enough("3.52.0"));
        assert!(is_new_enough("4.0.0"));
    }
}
