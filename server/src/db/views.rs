//! Queries of the list of runs under names.

use sqlx::SqliteConnection;
use trainyard_wire::Timestamp;
use trainyard_wire::annotation::View;

use super::{Result, unsigned};

struct ViewRow {
    name: String,
    query: String,
    created_at: i64,
    updated_at: i64,
}

impl ViewRow {
    fn view(self) -> View {
        let Self { name, query, created_at, updated_at } = self;
        View { name, query, created_at: Timestamp(created_at), updated_at: Timestamp(updated_at) }
    }
}

/// All, by name.
pub(crate) async fn list(conn: &mut SqliteConnection) -> Result<Vec<View>> {
    let rows = sqlx::query_as!(ViewRow, "SELECT name, query, created_at, updated_at FROM views ORDER BY lower(name), name");
    Ok(rows.fetch_all(conn).await?.into_iter().map(ViewRow::view).collect())
}

pub(crate) async fn count(conn: &mut SqliteConnection) -> Result<u64> {
    Ok(unsigned(sqlx::query_scalar!(r#"SELECT COUNT(*) AS "count!: i64" FROM views"#).fetch_one(conn).await?))
}

pub(crate) async fn get(conn: &mut SqliteConnection, name: &str) -> Result<Option<View>> {
    let row = sqlx::query_as!(ViewRow, "SELECT name, query, created_at, updated_at FROM views WHERE name = ?", name);
    Ok(row.fetch_optional(conn).await?.map(ViewRow::view))
}

/// Stores a query in place of the one that the name had.
pub(crate) async fn put(conn: &mut SqliteConnection, name: &str, query: &str, now: Timestamp) -> Result<()> {
    sqlx::query!(
        "INSERT INTO views (name, query, created_at, updated_at) VALUES (?1, ?2, ?3, ?3)
         ON CONFLICT (name) DO UPDATE SET query = excluded.query, updated_at = excluded.updated_at",
        name,
        query,
        now.0,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Answers whether it was there.
pub(crate) async fn delete(conn: &mut SqliteConnection, name: &str) -> Result<bool> {
    Ok(sqlx::query!("DELETE FROM views WHERE name = ?", name).execute(conn).await?.rows_affected() > 0)
}
