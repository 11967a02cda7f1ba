//! What people see: tables, numbers, progress bars; or the API's JSON.

pub(crate) mod format;
mod plain;
pub(crate) mod progress;
mod sparkline;
pub(crate) mod table;

use std::io::{self, Write as _};

pub(crate) use plain::{plain, plain_line};
use serde::Serialize;

/// Writes to stdout as [`plain()`] text. Unlike `println!` it answers an error where the reader has gone.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(plain(text).as_bytes())?;
    if !text.is_empty() && !text.ends_with('\n') {
        stdout.write_all(b"\n")?;
    }
    stdout.flush()
}

/// Writes `value` as the API answered it.
pub(crate) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print(&serde_json::to_string_pretty(value)?)?;
    Ok(())
}
