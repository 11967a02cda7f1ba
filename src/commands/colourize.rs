//! `trainyard colourize`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use trainyard_wire::client::Client;
use trainyard_wire::colourize::Colourized;
use trainyard_wire::spec::picture::{COLOURIZED, MOST_PICTURE_BYTES, PictureFormat};
use trainyard_wire::{RunId, RunState};

use super::artifacts::{download, write_to_stdout};
use crate::UsageError;
use crate::connection::Connection;
use crate::context::Context;

/// How long the server is asked to hold the answer.
const WAIT: Duration = Duration::from_secs(30);
/// How often a picture that takes longer is asked for.
const POLL: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
pub(crate) struct ColourizeArgs {
    /// A colourization that has succeeded
    #[arg(value_name = "RUN")]
    run: RunId,
    /// PNG or JPEG, at most 10 MiB and 1024×1024 pixels; its colours, if it has some, are not looked at
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
    /// Where to write the coloured picture, - for standard output; IMAGE's name with -colourized.png in this folder unless given
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    connection: Connection,
}

impl ColourizeArgs {
    /// Exit code 0 once the picture is written, 1 where it could not be coloured.
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let to_stdout = self.output.as_deref() == Some(Path::new("-"));
        context.json_unless("-o -", to_stdout)?;
        let output = match self.output {
            Some(output) => output,
            None => default_output(&self.image)?,
        };
        let client = self.connection.client(context)?;
        let size = tokio::fs::metadata(&self.image).await.with_context(|| format!("cannot read {}", self.image.display()))?.len();
        if size > MOST_PICTURE_BYTES {
            bail!("{} has {size} bytes; at most {MOST_PICTURE_BYTES} are coloured", self.image.display());
        }
        let bytes = tokio::fs::read(&self.image).await.with_context(|| format!("cannot read {}", self.image.display()))?;
        let format = PictureFormat::of(&bytes).with_context(|| format!("{} is neither a PNG nor a JPEG", self.image.display()))?;
        let sent = client.colourize(self.run, format, bytes.into(), WAIT, None).await?;
        let picture = until_done(&client, sent).await?;
        if picture.state != RunState::Succeeded {
            let reason = picture.error.unwrap_or_else(|| format!("its run {} was {}", picture.run_id, picture.state));
            bail!("{} was not coloured: {reason}", self.image.display());
        }
        if to_stdout {
            write_to_stdout(&client, picture.run_id, COLOURIZED).await?;
            return Ok(ExitCode::SUCCESS);
        }
        let artifacts = client.artifacts(picture.run_id).await?.artifacts;
        let Some(artifact) = artifacts.iter().find(|artifact| artifact.name == COLOURIZED) else {
            bail!("the picture is not there any more: run {} has no {COLOURIZED}", picture.run_id);
        };
        download(&client, picture.run_id, artifact, &output).await?;
        context.answer(&picture, |picture| {
            let right = picture.accuracy.map(|share| format!("; {:.1} % of its colours were right", 100.0 * share)).unwrap_or_default();
            format!("{} ({}×{} pixels{right})", output.display(), picture.width, picture.height)
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The picture once it is done, however long that takes.
async fn until_done(client: &Client, mut picture: Colourized) -> anyhow::Result<Colourized> {
    while !picture.state.is_finished() {
        tokio::time::sleep(POLL).await;
        let pictures = match client.colourized(picture.model_run_id).await {
            Err(error) if error.is_transient() => continue,
            asked => asked?.items,
        };
        let Some(now) = pictures.into_iter().find(|now| now.run_id == picture.run_id) else {
            bail!("the picture was deleted before it was coloured");
        };
        picture = now;
    }
    Ok(picture)
}

fn default_output(image: &Path) -> Result<PathBuf, UsageError> {
    let stem = image.file_stem().ok_or_else(|| UsageError(format!("`{}` is no file name", image.display())))?;
    Ok(PathBuf::from(format!("{}-colourized.png", stem.to_string_lossy())))
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::default_output;

    #[test]
    fn a_coloured_picture_lands_in_this_folder_beside_nothing_else() {
        assert_eq!(default_output(Path::new("photos/horse.jpeg")).unwrap(), PathBuf::from("horse-colourized.png"));
        assert!(default_output(Path::new("..")).is_err());
    }
}
