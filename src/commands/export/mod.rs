//! `trainyard export`: runs as files that other programs read.
//!
//! A folder a run, in which a file has its name once it is whole. Metrics come page after page and go into every format on the way, so a
//! run of any length takes the memory of one page.

mod points;
mod tensorboard;

use std::io::{self, Write as _};
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use serde::Serialize;
use tempfile::NamedTempFile;
use trainyard_wire::client::Client;
use trainyard_wire::{JobId, Page, RunId};

use super::artifacts::download;
use crate::connection::Connection;
use crate::context::Context;
use crate::terminal::table::Table;
use points::PointFiles;

#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    /// The runs to export
    #[arg(required_unless_present = "job", conflicts_with = "job", value_name = "RUN")]
    runs: Vec<RunId>,
    /// All runs of this job
    #[arg(long)]
    job: Option<JobId>,
    /// The folder to write into; each run has its own in it (tensorboard --logdir DIR shows them all)
    #[arg(short, long, default_value = "trainyard-export", value_name = "DIR")]
    output: PathBuf,
    /// What the metrics are written as; TensorBoard's scalars have single precision, the others every digit
    #[arg(long, value_enum, value_delimiter = ',', default_value = "all", value_name = "FORMAT,…")]
    format: Vec<Format>,
    /// Download the runs' artifacts too
    #[arg(long)]
    artifacts: bool,
    #[command(flatten)]
    connection: Connection,
}

/// What metrics are written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// metrics.csv: name,step,value,time
    Csv,
    /// metrics.ndjson: an object a line
    Ndjson,
    /// events.out.tfevents.…
    Tensorboard,
    All,
}

/// What was written of one run.
#[derive(Debug, Serialize)]
struct Exported {
    run_id: RunId,
    folder: PathBuf,
    points: u64,
    /// Names in the folder.
    files: Vec<String>,
}

impl ExportArgs {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let client = self.connection.client(context)?;
        let runs = match self.job {
            Some(job) => client.job(job).await?.run_ids,
            None => self.runs.clone(),
        };
        let mut items = Vec::with_capacity(runs.len());
        for id in runs {
            items.push(self.export(&client, id).await.with_context(|| format!("cannot export run {id}"))?);
        }
        context.answer(&Page { items }, |exported| {
            let mut table = Table::new(&["RUN", "FOLDER", "POINTS", "FILES"]);
            for run in &exported.items {
                table.row([run.run_id.to_string(), run.folder.display().to_string(), run.points.to_string(), run.files.join(", ")]);
            }
            table
        })?;
        Ok(ExitCode::SUCCESS)
    }

    fn wants(&self, format: Format) -> bool {
        self.format.iter().any(|wanted| [format, Format::All].contains(wanted))
    }

    async fn export(&self, client: &Client, id: RunId) -> anyhow::Result<Exported> {
        let run = client.run(id).await?;
        let certificates = client.certificates(id).await?;
        let folder = self.output.join(format!("run-{id}"));
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let mut files = vec!["run.json".to_owned(), "certificates.json".to_owned()];
        write_json(&folder.join(&files[0]), &run)?;
        write_json(&folder.join(&files[1]), &certificates)?;

        let mut metrics = PointFiles::new(&folder);
        if self.wants(Format::Csv) {
            metrics.add_csv()?;
        }
        if self.wants(Format::Ndjson) {
            metrics.add_ndjson()?;
        }
        if self.wants(Format::Tensorboard) {
            metrics.add_tensorboard(run.started_at.unwrap_or(run.created_at))?;
        }
        let mut next = None;
        loop {
            let page;
            (page, next) = client.metric_page(id, &[], next.as_ref()).await?;
            metrics.write(&page)?;
            if next.is_none() {
                break;
            }
        }
        let points = metrics.points();
        files.extend(metrics.finish()?);
        if self.artifacts {
            for artifact in client.artifacts(id).await?.artifacts {
                let path = folder.join("artifacts").join(inside(&artifact.name)?);
                let parent = path.parent().unwrap_or(&folder);
                std::fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
                download(client, id, &artifact, &path).await?;
                files.push(format!("artifacts/{}", artifact.name));
            }
        }
        Ok(Exported { run_id: id, folder, points, files })
    }
}

/// An artifact's name as a path that stays in the folder it is joined to.
fn inside(name: &str) -> anyhow::Result<&Path> {
    let path = Path::new(name);
    if name.is_empty() || !path.components().all(|part| matches!(part, Component::Normal(_))) {
        bail!("the artifact `{name}` has a name that leads out of its folder");
    }
    Ok(path)
}

fn write_json(path: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    let cannot_write = || format!("cannot write {}", path.display());
    let mut file = partial_in(path.parent().unwrap_or(Path::new("."))).with_context(cannot_write)?;
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    file.write_all(&text).with_context(cannot_write)?;
    persist(file, path)
}

/// A file without its name yet, which others may read as far as the umask lets them.
fn partial_in(folder: &Path) -> io::Result<NamedTempFile> {
    use std::os::unix::fs::PermissionsExt as _;
    tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o666)).tempfile_in(folder)
}

/// Gives a file that is written its name.
fn persist(file: NamedTempFile, path: &Path) -> anyhow::Result<()> {
    file.persist(path).map(drop).map_err(|error| error.error).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::inside;

    #[test]
    fn no_artifact_leads_out_of_its_folder() {
        assert!(inside("samples/epoch-001.png").is_ok());
        for name in ["", "/etc/passwd", "../x", "a/../../x", "."] {
            assert!(inside(name).is_err(), "{name}");
        }
    }
}
