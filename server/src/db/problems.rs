//! The numbers of inline problems, each stored once.

use sqlx::SqliteConnection;

use super::{Result, unsigned};
use crate::store::{InlineProblem, StoreError};

/// A problem as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PackedProblem {
    pub(crate) rows: u64,
    pub(crate) columns: u64,
    pub(crate) numbers: Vec<u8>,
}

impl PackedProblem {
    /// Packs n rows of d numbers and n targets; the rows must be equally long.
    pub(crate) fn pack(x: &[Vec<f64>], t: &[f64]) -> Self {
        let columns = x.first().map_or(0, Vec::len);
        let numbers = x.iter().flatten().chain(t).flat_map(|value| value.to_le_bytes()).collect();
        Self { rows: x.len() as u64, columns: columns as u64, numbers }
    }

    pub(crate) fn unpack(&self) -> Result<InlineProblem> {
        let (values, rest) = self.numbers.as_chunks::<8>();
        let (rows, columns) = (self.rows as usize, self.columns as usize);
        if !rest.is_empty() || columns == 0 || Some(values.len()) != rows.checked_mul(columns).and_then(|x| x.checked_add(rows)) {
            let detail = format!("{} bytes are not {rows} rows of {columns} numbers and a target", self.numbers.len());
            return Err(StoreError::Unreadable { what: "problem", detail });
        }
        let (x, t) = values.split_at(rows * columns);
        let doubles = |values: &[[u8; 8]]| values.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect::<Vec<_>>();
        Ok(InlineProblem { x: x.chunks(columns).map(doubles).collect(), t: doubles(t) })
    }
}

/// Stores a problem unless its hash is known.
pub(crate) async fn insert(conn: &mut SqliteConnection, sha256: &str, problem: &PackedProblem) -> Result<()> {
    let (rows, columns) = (super::signed(problem.rows), super::signed(problem.columns));
    sqlx::query!(
        "INSERT INTO problems (sha256, rows, columns, numbers) VALUES (?, ?, ?, ?) ON CONFLICT (sha256) DO NOTHING",
        sha256,
        rows,
        columns,
        problem.numbers,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(crate) async fn get(conn: &mut SqliteConnection, sha256: &str) -> Result<Option<PackedProblem>> {
    let row = sqlx::query!("SELECT rows, columns, numbers FROM problems WHERE sha256 = ?", sha256).fetch_optional(conn).await?;
    Ok(row.map(|row| PackedProblem { rows: unsigned(row.rows), columns: unsigned(row.columns), numbers: row.numbers }))
}

/// Rows and columns of a stored problem.
pub(crate) async fn shape(conn: &mut SqliteConnection, sha256: &str) -> Result<Option<(u64, u64)>> {
    let row = sqlx::query!("SELECT rows, columns FROM problems WHERE sha256 = ?", sha256).fetch_optional(conn).await?;
    Ok(row.map(|row| (unsigned(row.rows), unsigned(row.columns))))
}
