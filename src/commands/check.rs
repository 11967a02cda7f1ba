//! `trainyard check`: whether what a data folder holds is whole. The one command beside those that start a server which reads a data
//! folder itself: it is for a server that is stopped, or that cannot start.

use std::path::PathBuf;
use std::process::ExitCode;

use trainyard_server::check::{Report, check};

use crate::connection::DEFAULT_DATA_DIR;
use crate::context::Context;

#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// The data folder of a server that is stopped, or an unpacked backup
    #[arg(long, default_value = DEFAULT_DATA_DIR, value_name = "DIR")]
    data_dir: PathBuf,
}

impl CheckArgs {
    /// Exit code 0 where nothing is wrong, 1 otherwise.
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let report = check(&self.data_dir).await?;
        context.answer(&report, text)?;
        Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn text(report: &Report) -> String {
    let mut lines: Vec<String> = Vec::new();
    for finding in &report.findings {
        lines.push(format!("{}: {}", finding.kind, finding.detail));
        lines.extend(finding.used_by.iter().map(|user| format!("  needed as {user}")));
    }
    for content in &report.unreferenced {
        let size = indicatif::BinaryBytes(content.size);
        lines.push(format!("unreferenced: {} ({size}); a server deletes it", content.sha256));
    }
    let size = indicatif::BinaryBytes(report.bytes);
    let verdict = match report.findings.len() {
        0 => "nothing is wrong".to_owned(),
        1 => "1 thing is wrong".to_owned(),
        count => format!("{count} things are wrong"),
    };
    lines.push(format!("{} contents ({size}) read: {verdict}", report.contents));
    lines.join("\n")
}
