//! `trainyard verify`.

use std::process::ExitCode;
use std::time::Duration;

use trainyard_wire::verification::{FirstDifference, Verdict, Verification};
use trainyard_wire::{RunId, RunState};

use crate::connection::Connection;
use crate::context::Context;

/// How often the verdict is asked for.
const POLL: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    run: RunId,
    /// Execute it once more although there is a verdict
    #[arg(long)]
    anew: bool,
    /// Do not wait for the verdict
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    connection: Connection,
}

impl VerifyArgs {
    /// Exit code 0 where the bits are the same (or nobody waits), 1 otherwise.
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let client = self.connection.client(context)?;
        let mut verification = client.verify(self.run, self.anew).await?;
        while verification.verdict.is_none() && !self.no_wait {
            tokio::time::sleep(POLL).await;
            verification = match client.verification(self.run).await {
                Err(error) if error.is_transient() => continue,
                asked => asked?,
            };
        }
        context.answer(&verification, text)?;
        let is_fine = matches!(verification.verdict, None | Some(Verdict::SameBits));
        Ok(if is_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn text(verification: &Verification) -> String {
    let (run, again) = (verification.run_id, verification.verification_run_id);
    let Some(verdict) = verification.verdict else {
        return match verification.state {
            RunState::Queued => format!("run {run} waits to be executed again, as run {again}"),
            state => format!("run {run} is executed again as run {again}, which is {state}"),
        };
    };
    let mut lines = Vec::new();
    match verdict {
        Verdict::SameBits => {
            let compared = verification.compared.unwrap_or_default();
            lines.push(format!(
                "run {run}: same bits ({} metrics with {} points, {} files)",
                compared.metrics, compared.points, compared.artifacts
            ));
        }
        Verdict::Differs => {
            let place = verification.first_difference.as_ref().map(difference).unwrap_or_default();
            lines.push(format!("run {run} differs from its second execution, run {again}: {place}"));
        }
        Verdict::Inconclusive => {
            let error = verification.error.as_deref().unwrap_or("the second execution has no result");
            lines.push(format!("run {run} could not be executed again (run {again}): {error}"));
        }
    }
    if let Some(determinism) = &verification.determinism {
        if let Some(class) = determinism.class {
            lines.push(format!("determinism: {class}"));
        }
        for (name, platforms) in [("original", &determinism.original), ("again", &determinism.again)] {
            lines.extend(platforms.iter().map(|platform| format!("  {name}: build {}, {}", platform.build, platform.device)));
        }
    }
    lines.extend(verification.left_out.iter().map(|left_out| format!("not compared: {} ({})", left_out.claim, left_out.reason)));
    lines.join("\n")
}

fn difference(difference: &FirstDifference) -> String {
    let place = match (&difference.metric, difference.step, &difference.result, &difference.artifact) {
        (Some(metric), Some(step), ..) => format!("{metric} at step {step}"),
        (_, _, Some(pointer), _) => format!("the result at {}", if pointer.is_empty() { "its root" } else { pointer }),
        (_, _, _, Some(artifact)) => format!("the file {artifact}"),
        _ => "somewhere".to_owned(),
    };
    format!("first {place}: {} and {}", difference.original, difference.again)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use trainyard_wire::verification::FirstDifference;

    use super::difference;

    #[test]
    fn a_difference_is_told_with_its_place_and_both_values() {
        let metric = FirstDifference { metric: Some("loss".to_owned()), step: Some(7), original: json!(0.5), ..FirstDifference::default() };
        assert_eq!(difference(&metric), "first loss at step 7: 0.5 and null");
        let file = FirstDifference {
            artifact: Some("model.json".to_owned()),
            original: json!("a"),
            again: json!("b"),
            ..FirstDifference::default()
        };
        assert_eq!(difference(&file), "first the file model.json: \"a\" and \"b\"");
    }
}
