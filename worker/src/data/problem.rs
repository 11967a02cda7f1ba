//! The regression problem of a spec.

use trainyard_theory::regression::{Problem, SyntheticProblem};
use trainyard_wire::dataset::FileRole;
use trainyard_wire::spec::regression::{ProblemSource, ProblemSpec};

use super::{DataError, LocalDataset, table};

/// The problem `(X, t)` that `spec` names; `dataset` is the table it is taken from, if it is.
///
/// # Errors
/// Where the numbers are missing, of unequal lengths or not finite.
pub fn load_problem(spec: &ProblemSpec, dataset: Option<&LocalDataset>) -> Result<Problem, DataError> {
    match spec.source {
        ProblemSource::Inline => {
            let x = required(spec.x.as_ref(), "x")?;
            let t = required(spec.t.as_ref(), "t")?;
            let features = x.first().map_or(0, Vec::len);
            if let Some(ragged) = x.iter().position(|row| row.len() != features) {
                return Err(DataError::Spec(format!("row {ragged} of x has {} numbers, the first has {features}", x[ragged].len())));
            }
            Ok(Problem::new(x.concat(), t.clone(), features)?)
        }
        ProblemSource::Synthetic => {
            let size = |value: Option<u64>, field| {
                let value = *required(value.as_ref(), field)?;
                usize::try_from(value).map_err(|_| DataError::Spec(format!("{field} is too large")))
            };
            let synthetic = SyntheticProblem {
                examples: size(spec.n, "n")?,
                features: size(spec.d, "d")?,
                condition: *required(spec.condition.as_ref(), "condition")?,
                noise: spec.noise.unwrap_or(0.0),
                seed: spec.seed.unwrap_or(0),
            };
            Ok(synthetic.generate()?.0)
        }
        ProblemSource::Dataset => {
            let target = required(spec.target.as_ref(), "target")?;
            let file = dataset.and_then(|dataset| dataset.files.iter().find(|file| file.role == FileRole::Csv));
            let file = file.ok_or_else(|| DataError::Spec("the dataset has no table".to_owned()))?;
            let opened = std::fs::File::open(&file.path).map_err(|source| DataError::File { path: file.path.clone(), source })?;
            table::problem(opened, target, spec.standardize, spec.intercept)
        }
    }
}

fn required<'a, T>(value: Option<&'a T>, field: &str) -> Result<&'a T, DataError> {
    value.ok_or_else(|| DataError::Spec(format!("the problem has no {field}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use trainyard_wire::Spec;

    use super::*;

    fn problem_spec(problem: serde_json::Value) -> ProblemSpec {
        let spec = json!({"kind": "regression", "problem": problem, "optimizer": {"name": "gd", "learning_rate": 0.1}, "steps": 1});
        Spec::from_value(spec, "").unwrap().problem().unwrap().clone()
    }

    #[test]
    fn inline_numbers_are_taken_row_by_row() {
        let spec = problem_spec(json!({"source": "inline", "x": [[1, 2], [3, 4], [5, 6]], "t": [1, 0, -1]}));
        let problem = load_problem(&spec, None).unwrap();
        assert_eq!(problem.row(1), [3.0, 4.0]);
        assert_eq!(problem.t(), [1.0, 0.0, -1.0]);
    }

    #[test]
    fn a_synthetic_problem_is_theorys() {
        let spec = problem_spec(json!({"source": "synthetic", "n": 5, "d": 3, "condition": 4, "noise": 0.1, "seed": 2}));
        let made = SyntheticProblem { examples: 5, features: 3, condition: 4.0, noise: 0.1, seed: 2 };
        assert_eq!(load_problem(&spec, None).unwrap(), made.generate().unwrap().0);
    }

    #[test]
    fn a_problem_without_its_numbers_is_refused() {
        let mut spec = problem_spec(json!({"source": "inline", "x": [[1, 2], [3, 4]], "t": [1, 0]}));
        spec.x.as_mut().unwrap()[1].pop();
        assert!(matches!(load_problem(&spec, None), Err(DataError::Spec(_))));
        spec.x = None;
        assert!(matches!(load_problem(&spec, None), Err(DataError::Spec(_))));
        let table = problem_spec(json!({"source": "dataset", "name": "houses", "target": "price"}));
        assert!(matches!(load_problem(&table, None), Err(DataError::Spec(_))));
    }
}
