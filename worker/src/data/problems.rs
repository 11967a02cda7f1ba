//! Regression problems with their spectra, shared by the runs of a sweep.
//!
//! Making a problem and decomposing it costs a small run more than its training. [`ProblemCache`] keeps the problems that were used
//! last, by the hash of their numbers or by what defines them; both are functions of the spec, so that a run comes to the same bits
//! with a kept problem as with one of its own.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use trainyard_theory::regression::{Problem, Spectrum, SpectrumError};
use trainyard_wire::spec::regression::{ProblemSource, ProblemSpec};

use super::problem::load_problem;
use super::{DataError, LocalDataset};

/// The most bytes that a cache keeps beyond its newest problem: 256 MiB.
const MOST_BYTES: usize = 256 << 20;
/// The most problems that it keeps, however small.
const MOST_PROBLEMS: usize = 256;

/// A problem that several runs train on at one time.
#[derive(Debug)]
pub struct SharedProblem {
    problem: Problem,
    spectrum: OnceLock<Result<Spectrum, SpectrumError>>,
}

impl SharedProblem {
    /// A problem that is not decomposed yet.
    pub fn new(problem: Problem) -> Self {
        Self { problem, spectrum: OnceLock::new() }
    }

    /// The numbers.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    /// The spectrum with the minimum-norm solution. The first who asks decomposes the problem, which costs
    /// [`spectrum_cost`](trainyard_theory::regression::spectrum_cost) operations; others wait meanwhile.
    ///
    /// # Errors
    /// As [`Spectrum::of`].
    pub fn spectrum(&self) -> Result<&Spectrum, SpectrumError> {
        self.spectrum.get_or_init(|| Spectrum::of(&self.problem)).as_ref().map_err(|error| *error)
    }

    /// What it takes, decomposed.
    fn bytes(&self) -> usize {
        let (n, d) = (self.problem.examples(), self.problem.features());
        size_of::<f64>() * (n * d + n + d + n.min(d) * (d + 2))
    }
}

/// What a problem's numbers depend on.
#[derive(Clone, Debug, PartialEq)]
struct Key {
    /// Without numbers of its own.
    spec: ProblemSpec,
    dataset: Option<String>,
}

impl Key {
    /// None where nothing but the numbers themselves says which problem it is.
    fn of(spec: &ProblemSpec, dataset: Option<&LocalDataset>) -> Option<Self> {
        if spec.source == ProblemSource::Inline && spec.sha256.is_none() {
            return None;
        }
        let spec = ProblemSpec {
            source: spec.source,
            x: None,
            t: None,
            n: spec.n,
            d: spec.d,
            condition: spec.condition,
            noise: spec.noise,
            seed: spec.seed,
            name: spec.name.clone(),
            target: spec.target.clone(),
            standardize: spec.standardize,
            intercept: spec.intercept,
            sha256: spec.sha256.clone(),
        };
        Some(Self { spec, dataset: dataset.map(|dataset| dataset.sha256.clone()) })
    }
}

/// The place of one problem. Whoever makes it holds the lock.
type Place = Mutex<Option<Arc<SharedProblem>>>;

#[derive(Debug)]
struct Entry {
    key: Key,
    place: Arc<Place>,
    /// 0 until it is made.
    bytes: usize,
}

/// The problems that were used last, newest at the end.
#[derive(Debug, Default)]
pub struct ProblemCache {
    entries: Mutex<Vec<Entry>>,
}

impl ProblemCache {
    /// The problem that `spec` names, made if it is not here. Those who want the same wait for it, all others do not.
    ///
    /// # Errors
    /// As [`load_problem`]. An error is not kept.
    pub fn get(&self, spec: &ProblemSpec, dataset: Option<&LocalDataset>) -> Result<Arc<SharedProblem>, DataError> {
        let make = || Ok::<_, DataError>(Arc::new(SharedProblem::new(load_problem(spec, dataset)?)));
        let Some(key) = Key::of(spec, dataset) else { return make() };
        let place = self.place(key);
        // Whoever panicked over it has left the place empty.
        let mut made = place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(problem) = &*made {
            return Ok(Arc::clone(problem));
        }
        let problem = make()?;
        *made = Some(Arc::clone(&problem));
        drop(made);
        self.note_size(&place, problem.bytes());
        Ok(problem)
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        // No operation leaves the list half changed.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The place of a problem, which is the newest from now on.
    fn place(&self, key: Key) -> Arc<Place> {
        let mut entries = self.entries();
        let entry = match entries.iter().position(|entry| entry.key == key) {
            Some(index) => entries.remove(index),
            None => Entry { key, place: Arc::default(), bytes: 0 },
        };
        let place = Arc::clone(&entry.place);
        entries.push(entry);
        place
    }

    /// Lets the oldest go where there is too much.
    fn note_size(&self, place: &Arc<Place>, bytes: usize) {
        let mut entries = self.entries();
        if let Some(entry) = entries.iter_mut().find(|entry| Arc::ptr_eq(&entry.place, place)) {
            entry.bytes = bytes;
        }
        let mut total: usize = entries.iter().map(|entry| entry.bytes).sum();
        while entries.len() > MOST_PROBLEMS || (entries.len() > 1 && total > MOST_BYTES) {
            total -= entries.remove(0).bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use trainyard_wire::Spec;

    use super::*;

    fn spec(problem: Value) -> ProblemSpec {
        let spec = json!({"kind": "regression", "problem": problem, "optimizer": {"name": "gd", "learning_rate": 0.1}, "steps": 1});
        Spec::from_value(spec, "").unwrap().problem().unwrap().clone()
    }

    fn synthetic(n: u64, d: u64, seed: u64) -> ProblemSpec {
        spec(json!({"source": "synthetic", "n": n, "d": d, "condition": 1, "seed": seed}))
    }

    #[test]
    fn the_runs_of_a_sweep_share_one_problem_and_its_spectrum() {
        let cache = ProblemCache::default();
        let spec = synthetic(40, 30, 1);
        let shared: Vec<Arc<SharedProblem>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| cache.get(&spec, None).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(shared.iter().all(|problem| Arc::ptr_eq(problem, &shared[0])));
        assert!(std::ptr::eq(shared[0].spectrum().unwrap(), shared[7].spectrum().unwrap()));
        let alone = load_problem(&spec, None).unwrap();
        assert_eq!(*shared[0].problem(), alone);
        let (kept, own) = (shared[0].spectrum().unwrap(), Spectrum::of(&alone).unwrap());
        assert_eq!((kept.singular_values(), kept.minimum_norm_solution()), (own.singular_values(), own.minimum_norm_solution()));
    }

    #[test]
    fn another_seed_is_another_problem() {
        let cache = ProblemCache::default();
        let [first, second] = [1, 2].map(|seed| cache.get(&synthetic(4, 3, seed), None).unwrap());
        assert_ne!(first.problem(), second.problem());
    }

    #[test]
    fn inline_numbers_are_shared_by_their_hash_and_without_one_not_at_all() {
        let cache = ProblemCache::default();
        let mut numbers = spec(json!({"source": "inline", "x": [[2, 1]], "t": [2]}));
        let [first, second] = [(); 2].map(|()| cache.get(&numbers, None).unwrap());
        assert!(!Arc::ptr_eq(&first, &second));
        numbers.sha256 = Some("a".repeat(64));
        let kept = cache.get(&numbers, None).unwrap();
        (numbers.x, numbers.t) = (None, None);
        assert!(Arc::ptr_eq(&kept, &cache.get(&numbers, None).unwrap()));
        numbers.sha256 = Some("b".repeat(64));
        assert!(matches!(cache.get(&numbers, None), Err(DataError::Spec(_))));
    }

    #[test]
    fn an_error_is_not_kept() {
        let cache = ProblemCache::default();
        let mut missing = spec(json!({"source": "inline", "x": [[2, 1]], "t": [2]}));
        missing.sha256 = Some("a".repeat(64));
        let numbers = missing.x.take();
        assert!(cache.get(&missing, None).is_err());
        missing.x = numbers;
        assert!(cache.get(&missing, None).is_ok());
    }

    #[test]
    fn the_oldest_problems_go_where_there_are_too_many_or_too_large_ones() {
        let cache = ProblemCache::default();
        let first = cache.get(&synthetic(1, 1, 0), None).unwrap();
        for seed in 1..MOST_PROBLEMS as u64 {
            cache.get(&synthetic(1, 1, seed), None).unwrap();
        }
        // Used again, it is the newest.
        assert!(Arc::ptr_eq(&first, &cache.get(&synthetic(1, 1, 0), None).unwrap()));
        let second = cache.get(&synthetic(1, 1, 1), None).unwrap();
        cache.get(&synthetic(1, 1, 1 << 20), None).unwrap();
        assert!(Arc::ptr_eq(&second, &cache.get(&synthetic(1, 1, 1), None).unwrap()));
        assert_eq!(cache.entries().len(), MOST_PROBLEMS);

        let cache = ProblemCache::default();
        let small = cache.get(&synthetic(1, 1, 0), None).unwrap();
        let place = |seed| cache.place(Key::of(&synthetic(1, 1, seed), None).unwrap());
        cache.note_size(&place(1), MOST_BYTES);
        assert_eq!(cache.entries().iter().map(|entry| entry.bytes).collect::<Vec<_>>(), [MOST_BYTES]);
        cache.note_size(&place(2), MOST_BYTES + 1);
        assert_eq!(cache.entries().iter().map(|entry| entry.bytes).collect::<Vec<_>>(), [MOST_BYTES + 1]);
        assert!(!Arc::ptr_eq(&small, &cache.get(&synthetic(1, 1, 0), None).unwrap()));
    }
}
