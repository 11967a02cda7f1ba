//! The numbers of inline problems, which the runs of a claim share: an answer brings each problem once.

use std::collections::HashMap;
use std::sync::Arc;

use trainyard_wire::Spec;
use trainyard_wire::worker::ClaimedRun;

/// x and t.
type Problem = (Vec<Vec<f64>>, Vec<f64>);

/// The numbers of one claim's problems, by their hash.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers {
    problems: Arc<HashMap<String, Problem>>,
}

impl Numbers {
    /// Takes the numbers out of the specs that have a hash beside them: runs that wait for their turn need none.
    pub(super) fn take(runs: &mut [ClaimedRun]) -> Self {
        let mut problems = HashMap::new();
        for run in runs {
            let Some(problem) = run.spec.problem_mut() else { continue };
            let Some(sha256) = &problem.sha256 else { continue };
            if let (Some(x), Some(t)) = (problem.x.take(), problem.t.take()) {
                problems.entry(sha256.clone()).or_insert((x, t));
            }
        }
        Self { problems: Arc::new(problems) }
    }

    /// Puts the numbers of a spec that lacks them into it.
    pub(super) fn put_back(&self, spec: &mut Spec) {
        let Some(problem) = spec.problem_mut() else { return };
        let Some((x, t)) = problem.sha256.as_ref().and_then(|sha256| self.problems.get(sha256)) else { return };
        (problem.x, problem.t) = (Some(x.clone()), Some(t.clone()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use trainyard_wire::{Attempt, JobId, RunId};

    use super::*;

    fn claimed(problem: Value) -> ClaimedRun {
        let spec = json!({"kind": "regression", "problem": problem, "optimizer": {"name": "gd", "learning_rate": 0.1}, "steps": 1});
        let spec = Spec::from_value(spec, "").unwrap();
        ClaimedRun { run_id: RunId(1), job_id: JobId(1), attempt: Attempt(1), spec, checkpoint: None, memory_bytes: 0 }
    }

    #[test]
    fn every_run_gets_the_numbers_of_its_own_problem() {
        let (first, second) = ("1".repeat(64), "2".repeat(64));
        let mut runs = [
            claimed(json!({"source": "inline", "x": [[1]], "t": [2], "sha256": first})),
            claimed(json!({"source": "inline", "x": [[3]], "t": [4], "sha256": second})),
            claimed(json!({"source": "inline", "sha256": first})),
            claimed(json!({"source": "inline", "x": [[5]], "t": [6]})),
            claimed(json!({"source": "synthetic", "n": 1, "d": 1, "condition": 1})),
        ];
        let numbers = Numbers::take(&mut runs);
        let found = runs.map(|mut run| {
            numbers.put_back(&mut run.spec);
            let problem = run.spec.problem().unwrap();
            problem.x.as_ref().map(|x| x[0][0]).zip(problem.t.as_ref().map(|t| t[0]))
        });
        assert_eq!(found, [Some((1.0, 2.0)), Some((3.0, 4.0)), Some((1.0, 2.0)), Some((5.0, 6.0)), None]);
    }
}
