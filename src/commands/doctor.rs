//! `trainyard doctor`: whether this machine trains as it should, and how fast.

use std::process::ExitCode;

use anyhow::Context as _;
use trainyard_worker::doctor::cases::Tolerance;
use trainyard_worker::doctor::{Report, examine};
use trainyard_worker::{DeviceChoice, Precision};

use super::worker::user_cache;
use crate::context::Context;
use crate::terminal::table::Table;

#[derive(Debug, clap::Args)]
pub(crate) struct DoctorArgs {
    /// What to look at: auto, cpu or cuda
    #[arg(long, default_value_t)]
    device: DeviceChoice,
    /// How a GPU multiplies: fp32, or tf32 for tensor cores
    #[arg(long, env = "TRAINYARD_GPU_PRECISION", value_name = "PRECISION", default_value_t)]
    gpu_precision: Precision,
}

impl DoctorArgs {
    /// Exit code 0 where everything is right, 1 otherwise.
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let kernels = user_cache()?.join("kernels");
        let quiet = context.json();
        let examined = tokio::task::spawn_blocking(move || {
            examine(self.device, self.gpu_precision, &kernels, move |what| {
                if !quiet {
                    eprintln!("{what}")
                }
            })
        });
        let report = examined.await?.context("cannot examine this machine")?;
        context.answer(&report, text)?;
        Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn text(report: &Report) -> String {
    let mut cases = Table::new(&["CASE OF PYTORCH'S", "WORST RELATIVE ERROR", "IN", "VERDICT"]);
    for case in &report.cases {
        let verdict = if case.failures.is_empty() { "right".to_owned() } else { case.failures.join("; ") };
        cases.row([case.name.clone(), format!("{:.1e}", case.worst), case.tensor.clone(), verdict]);
    }
    let yes = |holds: Option<&bool>| if holds == Some(&true) { "yes".to_owned() } else { "NO".to_owned() };
    let limit = format!("OF {} LIMIT", report.precision.to_uppercase());
    let mut steps = Table::new(&["NETWORK", "MS A STEP", "IMAGES A SECOND", "MULTIPLY-ADDS A SECOND", &limit, "SAME BITS", "RESUMES"]);
    for (index, step) in report.steps.iter().enumerate() {
        steps.row([
            step.network.to_owned(),
            format!("{:.3}", step.step_ms),
            format!("{:.0}", step.images_per_second),
            format!("{:.2e}", step.multiply_adds_per_second),
            step.of_limit.map_or_else(|| "-".to_owned(), |share| format!("{:.0} %", 100.0 * share)),
            yes(report.deterministic.get(index)),
            yes(report.resumes.get(index)),
        ]);
    }
    let readings: Vec<String> = report.readings.iter().map(|(name, value)| format!("{name} {value}")).collect();
    let verdict = if report.ok { "everything is right" } else { "something is wrong" };
    let mut held = format!("in {}, held to {:.0e}", report.precision.to_uppercase(), report.tolerance.values);
    if report.precision != "fp32" {
        let Tolerance { gradients, parameters, best_case, .. } = report.tolerance;
        held += &format!(", in gradients to {gradients}, in parameters to {parameters:.0e}, and in the best case to {best_case:.0e}");
    }
    let mut parts = vec![format!("trains on {}", report.device), held, cases.to_string(), steps.to_string()];
    parts.extend((!readings.is_empty()).then(|| readings.join(", ")));
    parts.push(verdict.to_owned());
    parts.join("\n\n")
}
