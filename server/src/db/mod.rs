//! All SQL of the server, one module a family of tables.
//!
//! Free functions over a connection, checked against the migrations at compile time (`scripts/prepare-queries` keeps what a build
//! without a database needs). They decide nothing: what may happen when is the store's matter. Only the writer's connection may be
//! given to those that change something.

pub(crate) mod annotations;
pub(crate) mod artifacts;
pub(crate) mod certificates;
pub(crate) mod check;
pub(crate) mod claims;
pub(crate) mod compared;
pub(crate) mod connect;
pub(crate) mod datasets;
pub(crate) mod events;
pub(crate) mod experiments;
pub(crate) mod external;
pub(crate) mod idempotency;
pub(crate) mod jobs;
pub(crate) mod listing;
pub(crate) mod logged;
pub(crate) mod logs;
pub(crate) mod metric_blocks;
pub(crate) mod metrics;
pub(crate) mod pictures;
pub(crate) mod problems;
pub(crate) mod queue;
pub(crate) mod removal;
pub(crate) mod retention;
pub(crate) mod revision;
pub(crate) mod run_rows;
pub(crate) mod run_search;
pub(crate) mod runs;
pub(crate) mod series;
pub(crate) mod tokens;
pub(crate) mod verifications;
pub(crate) mod views;
pub(crate) mod webhooks;
pub(crate) mod workers;

use std::fmt::Display;
use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::sqlite::SqliteQueryResult;
use trainyard_wire::Number;

use crate::store::StoreError;

pub(crate) type Result<T> = std::result::Result<T, StoreError>;

/// A stored word or number as its type.
fn parse<T: FromStr<Err: Display>>(what: &'static str, text: &str) -> Result<T> {
    text.parse().map_err(|error: T::Err| StoreError::Unreadable { what, detail: error.to_string() })
}

fn parse_option<T: FromStr<Err: Display>>(what: &'static str, text: Option<&str>) -> Result<Option<T>> {
    text.map(|text| parse(what, text)).transpose()
}

pub(crate) fn from_json<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| StoreError::Unreadable { what, detail: error.to_string() })
}

pub(crate) fn to_json<T: Serialize>(what: &'static str, value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| StoreError::Unreadable { what, detail: error.to_string() })
}

/// A count or step as the wire has it; the schema's counts are never negative.
fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// A count or step as a column holds it; what does not fit is refused before it comes here.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// NULL is NaN: SQLite makes it so on the way in.
fn number(value: Option<f64>) -> Number {
    Number(value.unwrap_or(f64::NAN))
}

/// Fails unless a guarded update found exactly its row.
fn one_row(result: &SqliteQueryResult) -> Result<()> {
    match result.rows_affected() {
        1 => Ok(()),
        _ => Err(sqlx::Error::RowNotFound.into()),
    }
}

/// Splits the one row too many that tells whether there is more.
pub(crate) fn split_more<T>(mut items: Vec<T>, limit: u32) -> crate::store::Slice<T> {
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    crate::store::Slice { items, more }
}
