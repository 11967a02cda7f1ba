//! The one counter of visible changes.

use sqlx::SqliteConnection;
use trainyard_wire::Revision;

use super::Result;

pub(crate) async fn get(conn: &mut SqliteConnection) -> Result<Revision> {
    Ok(Revision(sqlx::query_scalar!("SELECT value FROM revision").fetch_one(conn).await?))
}

pub(crate) async fn set(conn: &mut SqliteConnection, revision: Revision) -> Result<()> {
    sqlx::query!("UPDATE revision SET value = ?", revision.0).execute(conn).await?;
    Ok(())
}
