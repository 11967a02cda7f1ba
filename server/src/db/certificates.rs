//! Claims of theory checked on runs.

use sqlx::SqliteConnection;
use trainyard_wire::RunId;
use trainyard_wire::run::Certificate;

use super::{Result, number};

/// Stores a certificate; replaces that of the same claim. Answers whether that changed anything.
pub(crate) async fn put(conn: &mut SqliteConnection, run: RunId, certificate: &Certificate) -> Result<bool> {
    let Certificate { claim, formula, predicted, measured, tolerance, holds } = certificate;
    let result = sqlx::query!(
        "INSERT INTO certificates (run_id, claim, formula, predicted, measured, tolerance, holds) VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (run_id, claim) DO UPDATE SET
             formula = excluded.formula, predicted = excluded.predicted, measured = excluded.measured,
             tolerance = excluded.tolerance, holds = excluded.holds
         WHERE (formula, holds) <> (excluded.formula, excluded.holds) OR predicted IS NOT excluded.predicted
             OR measured IS NOT excluded.measured OR tolerance IS NOT excluded.tolerance",
        run.0,
        claim,
        formula,
        predicted.0,
        measured.0,
        tolerance.0,
        holds,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() > 0)
}

pub(crate) async fn list(conn: &mut SqliteConnection, run: RunId) -> Result<Vec<Certificate>> {
    let rows = sqlx::query!(
        r#"SELECT claim, formula, predicted, measured, tolerance, holds AS "holds: bool" FROM certificates WHERE run_id = ? ORDER BY claim"#,
        run.0,
    )
    .fetch_all(conn)
    .await?;
    let certificate = rows.into_iter().map(|row| Certificate {
        claim: row.claim,
        formula: row.formula,
        predicted: number(row.predicted),
        measured: number(row.measured),
        tolerance: number(row.tolerance),
        holds: row.holds,
    });
    Ok(certificate.collect())
}

pub(crate) async fn delete(conn: &mut SqliteConnection, run: RunId) -> Result<()> {
    sqlx::query!("DELETE FROM certificates WHERE run_id = ?", run.0).execute(conn).await?;
    Ok(())
}
