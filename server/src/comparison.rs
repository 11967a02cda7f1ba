//! Runs side by side: the settings in which they differ, their metrics, and what is left of a difference once seeds are taken into account.
//!
//! Runs whose specs are the same but for `seed` are a group. [`trainyard_theory::replication`] says what the values of a group come to and
//! whether two groups differ by more than their seeds do.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use trainyard_theory::replication::{Sample, WELCH};
use trainyard_wire::compare::{ComparedRun, Comparison, Difference, GroupPair, SeedGroup, SeedNoise, Spread};
use trainyard_wire::metric::MetricSummary;
use trainyard_wire::{RunId, RunState, StopReason};

/// The setting whose values are repetitions of one experiment.
pub(crate) const SEED: &str = "seed";
/// Metrics that a run is judged by, the first that it has.
const MAIN_METRICS: [&str; 5] = ["val_accuracy", "val_loss", "train_loss", "loss", "loss_l2"];
/// Up to so many groups are compared with each other, more of them with the best one.
const MOST_PAIRED: usize = 32;

/// A run, as far as a comparison goes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) id: RunId,
    pub(crate) name: Option<String>,
    pub(crate) state: RunState,
    pub(crate) stop_reason: Option<StopReason>,
    pub(crate) spec: Value,
    pub(crate) result: Option<Value>,
    pub(crate) summary: BTreeMap<String, MetricSummary>,
}

/// Runs and what tells them apart.
#[derive(Debug)]
pub(crate) struct SideBySide {
    pub(crate) runs: Vec<Candidate>,
    /// The settings in which the specs differ.
    pub(crate) differences: Vec<Difference>,
    pub(crate) groups: Vec<Group>,
}

/// Runs that differ in nothing but their seed.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) settings: BTreeMap<String, Value>,
    /// Places in `runs`.
    pub(crate) members: Vec<usize>,
}

/// Whether more of a metric is better.
pub(crate) fn more_is_better(metric: &str) -> bool {
    metric.ends_with("accuracy")
}

impl SideBySide {
    /// Compares the runs in the order given.
    pub(crate) fn of(mut runs: Vec<Candidate>) -> Self {
        let settings: Vec<BTreeMap<String, Value>> = runs.iter_mut().map(|run| flatten(std::mem::take(&mut run.spec))).collect();
        let differences = differences(&settings);
        let groups = groups(&differences, runs.len());
        Self { runs, differences, groups }
    }

    /// The metric that the runs are judged by, if they have any.
    pub(crate) fn main_metric(&self) -> Option<String> {
        let has = |name: &str| self.runs.iter().any(|run| run.summary.contains_key(name));
        let known = MAIN_METRICS.into_iter().find(|name| has(name)).map(str::to_owned);
        known.or_else(|| self.runs.iter().find_map(|run| run.summary.keys().next().cloned()))
    }

    /// The last values of a metric in a group.
    pub(crate) fn last_values(&self, group: &Group, metric: &str) -> Vec<f64> {
        group.members.iter().filter_map(|place| Some(self.runs[*place].summary.get(metric)?.last.0)).collect()
    }

    /// The places of the groups, the best by the mean of a metric first; those without a mean come last.
    pub(crate) fn ranked(&self, metric: &str) -> Vec<usize> {
        let sign = if more_is_better(metric) { -1.0 } else { 1.0 };
        let mean = |place: usize| Sample::of(&self.last_values(&self.groups[place], metric)).map_or(f64::INFINITY, |it| sign * it.mean);
        let mut places: Vec<usize> = (0..self.groups.len()).collect();
        places.sort_by(|a, b| mean(*a).total_cmp(&mean(*b)));
        places
    }

    /// The answer of `GET /v1/compare`, with the verdict on a metric.
    pub(crate) fn answer(self, metric: &str) -> Comparison {
        let names: BTreeSet<&String> = self.runs.iter().flat_map(|run| run.summary.keys()).collect();
        let groups = self.groups.iter().map(|group| self.seed_group(group, &names)).collect();
        let seed_noise = self.seed_noise(metric);
        let metrics =
            names.into_iter().map(|name| (name.clone(), self.runs.iter().map(|run| run.summary.get(name).cloned()).collect())).collect();
        let runs = self.runs.into_iter().map(|run| ComparedRun {
            id: run.id,
            name: run.name,
            state: run.state,
            stop_reason: run.stop_reason,
            result: run.result,
        });
        Comparison { runs: runs.collect(), differences: self.differences, metrics, groups, seed_noise }
    }

    fn seed_group(&self, group: &Group, names: &BTreeSet<&String>) -> SeedGroup {
        let spreads = names.iter().map(|name| ((*name).clone(), self.last_values(group, name))).filter(|(_, values)| !values.is_empty());
        SeedGroup {
            settings: group.settings.clone(),
            run_ids: group.members.iter().map(|place| self.runs[*place].id).collect(),
            metrics: spreads.map(|(name, values)| (name, spread(&values))).collect(),
        }
    }

    fn seed_noise(&self, metric: &str) -> Option<SeedNoise> {
        // A group that has diverged in part has no mean to be compared.
        let samples: Vec<Option<Sample>> = self.groups.iter().map(|group| Sample::of(&self.last_values(group, metric))).collect();
        let pair = |a: usize, b: usize| {
            let found = samples[a]?.difference(samples[b].as_ref()?)?;
            Some(GroupPair {
                groups: [a, b],
                difference: found.difference,
                interval: [found.low, found.high],
                degrees_of_freedom: found.degrees_of_freedom,
                within_noise: found.is_within_noise(),
            })
        };
        let count = self.groups.len();
        let pairs: Vec<GroupPair> = if count <= MOST_PAIRED {
            (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b))).filter_map(|(a, b)| pair(a, b)).collect()
        } else {
            let best = *self.ranked(metric).first()?;
            (0..count).filter(|place| *place != best).filter_map(|place| pair(best, place)).collect()
        };
        (!pairs.is_empty()).then(|| SeedNoise { metric: metric.to_owned(), test: WELCH.to_owned(), pairs })
    }
}

fn spread(values: &[f64]) -> Spread {
    let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    let sample = Sample::of(&finite);
    Spread {
        n: finite.len() as u64,
        not_finite: (values.len() - finite.len()) as u64,
        mean: sample.map(|sample| sample.mean),
        standard_deviation: sample.filter(|sample| sample.n > 1).map(|sample| sample.standard_deviation),
        interval: sample.and_then(|sample| sample.interval()).map(|(low, high)| [low, high]),
    }
}

fn groups(differences: &[Difference], runs: usize) -> Vec<Group> {
    let telling: Vec<&Difference> = differences.iter().filter(|difference| difference.path != SEED).collect();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut groups: Vec<Group> = Vec::new();
    for run in 0..runs {
        let settings: BTreeMap<String, Value> = telling.iter().map(|it| (it.path.clone(), it.values[run].clone())).collect();
        let key: String = settings.values().map(|value| format!("{value}\n")).collect();
        let place = *places.entry(key).or_insert_with(|| {
            groups.push(Group { settings, members: Vec::new() });
            groups.len() - 1
        });
        groups[place].members.push(run);
    }
    groups
}

fn differences(settings: &[BTreeMap<String, Value>]) -> Vec<Difference> {
    let paths: BTreeSet<&String> = settings.iter().flat_map(BTreeMap::keys).collect();
    let differ = |path: &str| settings.windows(2).any(|pair| value(&pair[0], path) != value(&pair[1], path));
    let told = paths.into_iter().filter(|path| differ(path));
    told.map(|path| Difference { path: path.clone(), values: settings.iter().map(|spec| value(spec, path).clone()).collect() }).collect()
}

fn value<'a>(spec: &'a BTreeMap<String, Value>, path: &str) -> &'a Value {
    spec.get(path).unwrap_or(&Value::Null)
}

/// The leaves of an object by their dotted paths; arrays are leaves.
pub(crate) fn flatten(spec: Value) -> BTreeMap<String, Value> {
    fn walk(value: Value, path: String, leaves: &mut BTreeMap<String, Value>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    walk(value, if path.is_empty() { name } else { format!("{path}.{name}") }, leaves);
                }
            }
            leaf => {
                leaves.insert(path, leaf);
            }
        }
    }
    let mut leaves = BTreeMap::new();
    walk(spec, String::new(), &mut leaves);
    leaves
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use trainyard_wire::Number;

    use super::*;

    fn run(id: i64, rate: f64, seed: u64, loss: f64) -> Candidate {
        let last = MetricSummary { last: Number(loss), last_step: 9, min: Number(loss), max: Number(loss) };
        Candidate {
            id: RunId(id),
            name: None,
            state: RunState::Succeeded,
            stop_reason: None,
            spec: json!({"kind": "regression", "optimizer": {"learning_rate": rate}, "seed": seed}),
            result: None,
            summary: BTreeMap::from([("loss".to_owned(), last)]),
        }
    }

    #[test]
    fn only_the_settings_that_differ_are_told() {
        let specs = [
            json!({"kind": "regression", "optimizer": {"name": "gd", "learning_rate": 0.1}, "steps": 5}),
            json!({"kind": "regression", "optimizer": {"name": "sgd", "learning_rate": 0.1, "batch_size": 2}, "steps": 5}),
        ];
        let found = differences(&specs.map(flatten));
        let found: Vec<_> = found.iter().map(|difference| (difference.path.as_str(), difference.values.clone())).collect();
        assert_eq!(found, [("optimizer.batch_size", vec![json!(null), json!(2)]), ("optimizer.name", vec![json!("gd"), json!("sgd")]),]);
    }

    #[test]
    fn runs_that_differ_in_their_seed_alone_are_one_group_with_a_mean() {
        let all = SideBySide::of(vec![run(1, 0.1, 0, 1.0), run(2, 0.1, 1, 3.0), run(3, 0.2, 0, 9.0), run(4, 0.2, 1, 9.5)]);
        assert_eq!(all.main_metric().as_deref(), Some("loss"));
        assert_eq!(all.ranked("loss"), [0, 1]);
        let answer = all.answer("loss");
        assert_eq!(
            answer.groups.iter().map(|group| group.run_ids.clone()).collect::<Vec<_>>(),
            [[RunId(1), RunId(2)], [RunId(3), RunId(4)]]
        );
        assert_eq!(answer.groups[1].settings, BTreeMap::from([("optimizer.learning_rate".to_owned(), json!(0.2))]));
        let spread = &answer.groups[0].metrics["loss"];
        assert_eq!((spread.n, spread.mean, spread.standard_deviation), (2, Some(2.0), Some(2.0_f64.sqrt())));
        let pair = &answer.seed_noise.unwrap().pairs[0];
        assert_eq!((pair.groups, pair.difference), ([0, 1], -7.25));
        assert!(pair.interval[0] < -7.25 && pair.within_noise == (pair.interval[1] >= 0.0));
    }

    #[test]
    fn a_seed_that_diverged_is_counted_and_decides_nothing() {
        let all = SideBySide::of(vec![run(1, 0.1, 0, 1.0), run(2, 0.1, 1, f64::NAN), run(3, 0.2, 0, 9.0), run(4, 0.2, 1, 9.5)]);
        let answer = all.answer("loss");
        let spread = &answer.groups[0].metrics["loss"];
        assert_eq!((spread.n, spread.not_finite, spread.mean, spread.standard_deviation), (1, 1, Some(1.0), None));
        assert_eq!(answer.seed_noise, None);
    }

    #[test]
    fn of_many_groups_each_is_compared_with_the_best() {
        let runs =
            (0..80).map(|i| run(i, f64::from(i as i32 / 2), i as u64 % 2, f64::from(i as i32 / 2 - 30).abs() + 0.1 * (i % 2) as f64));
        let answer = SideBySide::of(runs.collect()).answer("loss");
        let noise = answer.seed_noise.unwrap();
        assert_eq!(noise.pairs.len(), 39);
        assert!(noise.pairs.iter().all(|pair| pair.groups[0] == 30));
    }
}
