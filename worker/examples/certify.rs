//! How long the certificates of a large problem take: `certify [N] [D] [STEPS]` makes a synthetic problem (2000 × 2000), trains it
//! by gradient descent for some steps (10) and prints its certificates, with the time from the start to the first step and to the
//! last certificate.

use std::time::Instant;

use bytes::Bytes;
use candle_core::Device;
use trainyard_wire::Spec;
use trainyard_wire::number::brief;
use trainyard_wire::run::{Certificate, LeftOut, LogLevel, Progress};
use trainyard_worker::trainers::{Artifact, Assignment, Session, Stop, Workshop, train};

/// Prints what a trainer says.
struct Printer(Instant);

impl Session for Printer {
    fn metric(&self, name: &'static str, step: u64, _: f64) {
        if (name, step) == ("loss", 0) {
            println!("{:6.2} s: the first step", self.0.elapsed().as_secs_f64());
        }
    }
    fn progress(&self, _: Progress) {}
    fn log(&self, _: LogLevel, message: String) {
        println!("{message}");
    }
    fn certificates(&self, certificates: Vec<Certificate>) {
        println!("{:6.2} s: {} certificates", self.0.elapsed().as_secs_f64(), certificates.len());
        for Certificate { claim, measured, predicted, tolerance, holds, .. } in certificates {
            let [measured, predicted, tolerance] = [measured, predicted, tolerance].map(|number| brief(number.0));
            println!("  holds: {holds}; {claim}: {measured} for {predicted} ± {tolerance}");
        }
    }
    fn left_out(&self, left_out: Vec<LeftOut>) {
        left_out.iter().for_each(|left_out| println!("  left out: {}", left_out.claim));
    }
    fn save_artifact(&self, _: Artifact) {}
    fn save_checkpoint(&self, _: u64, _: Bytes) {}
    fn stop(&self) -> Option<Stop> {
        None
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let argument = |index: usize, default: u64| std::env::args().nth(index).map_or(Ok(default), |word| word.parse());
    let (n, d, steps) = (argument(1, 2000)?, argument(2, 2000)?, argument(3, 10)?);
    let spec = serde_json::json!({"kind": "regression", "problem": {"source": "synthetic", "n": n, "d": d, "condition": 100, "noise": 0.1},
        "optimizer": {"name": "gd", "learning_rate": 0.9}, "steps": steps});
    let spec = Spec::from_value(spec, "").map_err(|errors| errors[0].detail.clone())?;
    let assignment = Assignment { spec, dataset: None, checkpoint: None, picture: None };
    train(&assignment, &Workshop::new(Device::Cpu), &Printer(Instant::now()))?;
    Ok(())
}
