//! `trainyard convolution`: a small convolution, computed here without a server.

use std::process::ExitCode;

use anyhow::Context as _;
use trainyard_server::tools;
use trainyard_wire::tools::{ConvolutionAnswer, ConvolutionMode, ConvolutionOperation, ConvolutionQuestion};

use crate::context::Context;

#[derive(Debug, clap::Args)]
pub(crate) struct ConvolutionArgs {
    /// Rows of numbers as JSON ([[1, 2], [3, 4]]), or the name of a file that holds them
    #[arg(long, value_name = "ROWS")]
    input: String,
    /// Rows of the kernel, likewise
    #[arg(long, value_name = "ROWS")]
    kernel: String,
    /// How far the output reaches: same, valid or full
    #[arg(long, default_value_t = ConvolutionMode::Same)]
    mode: ConvolutionMode,
    /// convolution flips the kernel, cross_correlation does not
    #[arg(long, default_value_t = ConvolutionOperation::Convolution)]
    operation: ConvolutionOperation,
}

impl ConvolutionArgs {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let question = ConvolutionQuestion {
            input: rows(&self.input).context("cannot read the input")?,
            kernel: rows(&self.kernel).context("cannot read the kernel")?,
            mode: self.mode,
            operation: self.operation,
        };
        let answer = tools::convolution(question).map_err(|error| anyhow::anyhow!("{}: {}", &error.pointer[1..], error.detail))?;
        context.answer(&answer, aligned)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// JSON begins with a bracket; anything else names a file.
fn rows(text: &str) -> anyhow::Result<Vec<Vec<f64>>> {
    if text.trim_start().starts_with('[') {
        return Ok(serde_json::from_str(text)?);
    }
    let file = std::fs::read_to_string(text).with_context(|| format!("cannot read {text}"))?;
    serde_json::from_str(&file).with_context(|| format!("{text} does not hold rows of numbers"))
}

/// The numbers in columns, right-aligned.
fn aligned(answer: &ConvolutionAnswer) -> String {
    // A sum of products with 0 may be −0, which reads badly.
    let cells: Vec<Vec<String>> = answer.output.iter().map(|row| row.iter().map(|value| (value + 0.0).to_string()).collect()).collect();
    let width = cells.iter().flatten().map(|cell| cell.chars().count()).max().unwrap_or(0);
    cells.iter().map(|row| row.iter().map(|cell| format!("{cell:>width$}")).collect::<Vec<_>>().join(" ") + "\n").collect()
}

#[cfg(test)]
mod tests {
    use trainyard_wire::tools::ConvolutionAnswer;

    use super::{aligned, rows};

    #[test]
    fn rows_are_read_as_json_and_written_in_columns() {
        let output = rows(" [[1, -2.5], [-0.0, 10]]").unwrap();
        assert_eq!(aligned(&ConvolutionAnswer { output }), "   1 -2.5\n   0   10\n");
        assert!(rows("[[1], 2]").is_err() && rows("no-such-file.json").is_err());
    }
}
