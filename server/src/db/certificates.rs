//! Claims of theory checked on runs.

use sqlx::SqliteConnection;
use trainyard_wire::RunId;
use trainyard_wire::run::{Certificate, LeftOut};

use super::{Result, number};

/// Stores a certificate; replaces that of the same claim. Answers whether that changed anything.
pub(crate) async fn put(conn: &mut SqliteConnection, run: RunId, certificate: &Certificate) -> Result<bool> {
    let Certificate { claim, formula, predicted, measured, tolerance, holds, source } = certificate;
    let result = sqlx::query!(
        "INSERT INTO certificates (run_id, claim, formula, predicted, measured, tolerance, holds, source) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (run_id, claim) DO UPDATE SET
             formula = excluded.formula, predicted = excluded.predicted, measured = excluded.measured,
             tolerance = excluded.tolerance, holds = excluded.holds, source = excluded.source
         WHERE (formula, holds, source) <> (excluded.formula, excluded.holds, excluded.source) OR predicted IS NOT excluded.predicted
             OR measured IS NOT excluded.measured OR tolerance IS NOT excluded.tolerance",
        run.0,
        claim,
        formula,
        predicted.0,
        measured.0,
        tolerance.0,
        holds,
        source,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() > 0)
}

pub(crate) async fn list(conn: &mut SqliteConnection, run: RunId) -> Result<Vec<Certificate>> {
    let rows = sqlx::query!(
        r#"SELECT claim, formula, predicted, measured, tolerance, holds AS "holds: bool", source FROM certificates WHERE run_id = ? ORDER BY claim"#,
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
        source: row.source,
    });
    Ok(certificate.collect())
}

/// Stores why a claim was not certified; replaces what was said of the same claim. Answers whether that changed anything.
pub(crate) async fn put_left_out(conn: &mut SqliteConnection, run: RunId, left_out: &LeftOut) -> Result<bool> {
    let result = sqlx::query!(
        "INSERT INTO left_out_certificates (run_id, claim, reason) VALUES (?, ?, ?)
         ON CONFLICT (run_id, claim) DO UPDATE SET reason = excluded.reason WHERE reason <> excluded.reason",
        run.0,
        left_out.claim,
        left_out.reason,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() > 0)
}

pub(crate) async fn left_out(conn: &mut SqliteConnection, run: RunId) -> Result<Vec<LeftOut>> {
    let rows = sqlx::query_as!(LeftOut, "SELECT claim, reason FROM left_out_certificates WHERE run_id = ? ORDER BY claim", run.0);
    Ok(rows.fetch_all(conn).await?)
}

pub(crate) async fn delete(conn: &mut SqliteConnection, run: RunId) -> Result<()> {
    sqlx::query!("DELETE FROM certificates WHERE run_id = ?", run.0).execute(&mut *conn).await?;
    sqlx::query!("DELETE FROM left_out_certificates WHERE run_id = ?", run.0).execute(conn).await?;
    Ok(())
}
