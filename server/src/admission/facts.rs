//! What a spec names and the store knows: datasets and stored problems.

use std::collections::HashMap;

use tokio::io::AsyncReadExt as _;

use trainyard_wire::dataset::{CIFAR10_CATEGORIES, Dataset, DatasetKind, FileRole};
use trainyard_wire::spec::colourization::DatasetSpec;
use trainyard_wire::spec::optimizer::OptimizerSpec;
use trainyard_wire::spec::regression::{InitialWeights, ProblemSource, ProblemSpec};
use trainyard_wire::{FieldError, Spec};

use super::estimate::Size;
use super::table::Table;
use crate::store::{InlineProblem, Store, StoreError};

/// Height and width of CIFAR's pictures.
const CIFAR_SIDE: u64 = 32;
/// Bytes of a table up to which its numbers are looked at.
const SMALL_TABLE: u64 = 4 << 20;
/// Numbers of a stored problem up to which they are kept.
const SMALL_PROBLEM: usize = 1 << 20;

/// The store's knowledge of everything that a submission names.
#[derive(Debug, Default)]
pub(super) struct Facts {
    datasets: HashMap<String, Dataset>,
    /// n and d of stored problems, by hash; with the numbers of small ones.
    problems: HashMap<String, (u64, u64, Option<InlineProblem>)>,
    /// The contents of small tables, by the dataset's name.
    tables: HashMap<String, Table>,
}

impl Facts {
    pub(super) async fn gather(store: &Store, specs: impl Iterator<Item = &Spec>) -> Result<Self, StoreError> {
        let mut facts = Self::default();
        for spec in specs {
            if let Some(name) = spec.dataset_name()
                && !facts.datasets.contains_key(name)
                && let Some(dataset) = store.dataset(name).await?
            {
                if let Some(table) = read_table(store, &dataset).await? {
                    facts.tables.insert(name.to_owned(), table);
                }
                facts.datasets.insert(name.to_owned(), dataset);
            }
            if let Some(sha256) = only_hash(spec)
                && !facts.problems.contains_key(sha256)
                && let Some(problem) = store.problem(sha256).await?
            {
                let (n, d) = (problem.x.len(), problem.x.first().map_or(0, Vec::len));
                let small = n.saturating_mul(d) <= SMALL_PROBLEM;
                facts.problems.insert(sha256.to_owned(), (n as u64, d as u64, small.then_some(problem)));
            }
        }
        Ok(facts)
    }

    /// n and d of a problem that passed [`apply`](Self::apply).
    pub(super) fn shape(&self, problem: &ProblemSpec) -> Option<(u64, u64)> {
        if problem.source != ProblemSource::Dataset {
            return Some((problem.n?, problem.d?));
        }
        let dataset = self.datasets.get(problem.name.as_deref()?)?;
        Some(table_shape(dataset, problem))
    }

    /// The numbers of a stored problem that is given by its hash, if it is small.
    pub(super) fn numbers(&self, problem: &ProblemSpec) -> Option<&InlineProblem> {
        self.problems.get(problem.sha256.as_deref()?)?.2.as_ref()
    }

    /// The table that a problem is taken from, if it is small, and the position of its target.
    pub(super) fn table(&self, problem: &ProblemSpec) -> Option<(&Table, usize)> {
        let name = problem.name.as_deref()?;
        let target = problem.target.as_deref()?;
        let position = self.datasets.get(name)?.columns.iter().position(|column| column == target)?;
        Some((self.tables.get(name)?, position))
    }

    /// Checks what the spec names against what there is, writes the hashes into it, and tells how large its data are.
    pub(super) fn apply(&self, spec: &mut Spec) -> Result<Size, FieldError> {
        match spec {
            Spec::Regression(spec) => self.apply_descent(&mut spec.problem, &spec.optimizer, &spec.initial_weights),
            Spec::RegularizationPair(spec) => self.apply_descent(&mut spec.problem, &spec.optimizer, &spec.initial_weights),
            Spec::Hypergradient(spec) => self.start_on_problem(&mut spec.problem, &spec.initial_weights),
            Spec::Colourization(spec) => self.images(&mut spec.dataset),
            // Parsing refuses it.
            Spec::External(_) => Err(error("/spec/kind", "an external run is not submitted".to_owned())),
            Spec::Picture(_) => Err(error("/spec/kind", "a picture is not submitted".to_owned())),
        }
    }

    fn apply_descent(&self, problem: &mut ProblemSpec, optimizer: &OptimizerSpec, initial: &InitialWeights) -> Result<Size, FieldError> {
        let size = self.start_on_problem(problem, initial)?;
        if let (Some(batch), Size::Problem { n, .. }) = (optimizer.batch_size, size)
            && batch > n
        {
            return Err(error("/spec/optimizer/batch_size", format!("must be at most the problem's {n} rows, is {batch}")));
        }
        Ok(size)
    }

    /// The size of a problem, on which weights begin that must fit it.
    fn start_on_problem(&self, problem: &mut ProblemSpec, initial_weights: &InitialWeights) -> Result<Size, FieldError> {
        let (n, d) = self.problem_size(problem)?;
        if problem.source == ProblemSource::Inline {
            (problem.n, problem.d) = (Some(n), Some(d));
        }
        if let InitialWeights::Given(weights) = initial_weights
            && weights.len() as u64 != d
        {
            return Err(error("/spec/initial_weights", format!("must have the problem's {d} numbers, has {}", weights.len())));
        }
        Ok(Size::Problem { n, d })
    }

    fn problem_size(&self, problem: &mut ProblemSpec) -> Result<(u64, u64), FieldError> {
        match problem.source {
            ProblemSource::Inline if problem.x.is_none() => {
                let sha256 = problem.sha256.as_deref().unwrap_or_default();
                let size = self.problems.get(sha256).map(|(n, d, _)| (*n, *d));
                let (n, d) = size.ok_or_else(|| error("/spec/problem/sha256", "names no stored problem".to_owned()))?;
                for (field, given, stored) in [("n", problem.n, n), ("d", problem.d, d)] {
                    if given.is_some_and(|given| given != stored) {
                        return Err(error(&format!("/spec/problem/{field}"), format!("must be {stored}, as in the stored problem")));
                    }
                }
                Ok((n, d))
            }
            // Normalizing saw to it that both are there.
            ProblemSource::Inline | ProblemSource::Synthetic => Ok((problem.n.unwrap_or(1), problem.d.unwrap_or(1))),
            ProblemSource::Dataset => self.table_size(problem),
        }
    }

    fn table_size(&self, problem: &mut ProblemSpec) -> Result<(u64, u64), FieldError> {
        let name = problem.name.as_deref().unwrap_or_default();
        let dataset = self.dataset(name, DatasetKind::Table, "/spec/problem/name")?;
        let target = problem.target.as_deref().unwrap_or_default();
        if !dataset.columns.iter().any(|column| column == target) {
            let known: Vec<&str> = dataset.columns.iter().map(String::as_str).take(20).collect();
            let more = if dataset.columns.len() > known.len() { ", …" } else { "" };
            return Err(error("/spec/problem/target", format!("is no column of `{name}`: those are {}{more}", known.join(", "))));
        }
        let (n, d) = table_shape(dataset, problem);
        for (field, given, counted) in [("n", problem.n, n), ("d", problem.d, d)] {
            if given.is_some_and(|given| given != counted) {
                return Err(error(&format!("/spec/problem/{field}"), format!("must be {counted}, as in the dataset, or be left out")));
            }
        }
        pin(&mut problem.sha256, dataset, "/spec/problem/sha256")?;
        Ok((n, d))
    }

    fn images(&self, spec: &mut DatasetSpec) -> Result<Size, FieldError> {
        if spec.is_synthetic() {
            // Normalizing wrote the defaults out.
            let side = spec.size.unwrap_or(CIFAR_SIDE);
            return Ok(Size::Images { train: spec.train_images.unwrap_or(0), val: spec.val_images.unwrap_or(0), side });
        }
        let dataset = self.dataset(&spec.name, DatasetKind::Images, "/spec/dataset/name")?;
        let records = |role| dataset.files.iter().filter(|file| file.role == role).map(|file| file.records).sum::<u64>();
        let (mut train, mut val) = (records(FileRole::Train), records(FileRole::Val));
        if let Some(label) = spec.label() {
            let images = dataset.labels.get(usize::from(label)).copied().unwrap_or(0);
            if images < 2 {
                let present = CIFAR10_CATEGORIES.iter().zip(&dataset.labels).filter(|(_, count)| **count > 0).map(|(name, _)| *name);
                let present: Vec<&str> = present.collect();
                let detail = format!("`{}` has no images to train on and to validate with; it has {}", spec.name, present.join(", "));
                return Err(error("/spec/dataset/category", detail));
            }
            (train, val) = (train.min(images), val.min(images));
        }
        pin(&mut spec.sha256, dataset, "/spec/dataset/sha256")?;
        Ok(Size::Images { train, val, side: CIFAR_SIDE })
    }

    fn dataset(&self, name: &str, kind: DatasetKind, pointer: &str) -> Result<&Dataset, FieldError> {
        let dataset = self.datasets.get(name).ok_or_else(|| error(pointer, format!("no dataset is named `{name}`")))?;
        if dataset.kind != kind {
            return Err(error(pointer, format!("`{name}` holds {} data, {kind} are needed here", dataset.kind)));
        }
        Ok(dataset)
    }
}

/// The rows of a table, and the columns of a problem that is taken from it.
fn table_shape(dataset: &Dataset, problem: &ProblemSpec) -> (u64, u64) {
    let n = dataset.files.iter().map(|file| file.records).sum();
    (n, (dataset.columns.len() as u64).saturating_sub(1) + u64::from(problem.intercept))
}

/// The contents of a small table.
async fn read_table(store: &Store, dataset: &Dataset) -> Result<Option<Table>, StoreError> {
    let Some(file) = dataset.files.iter().find(|file| file.role == FileRole::Csv && file.size <= SMALL_TABLE) else { return Ok(None) };
    let Some((_, mut opened)) = store.dataset_file(&dataset.name, &file.sha256).await? else { return Ok(None) };
    let mut bytes = Vec::new();
    opened.read_to_end(&mut bytes).await?;
    Ok(Some(Table { columns: dataset.columns.len(), bytes }))
}

/// The hash of an inline problem whose numbers are not given.
fn only_hash(spec: &Spec) -> Option<&str> {
    let problem = spec.problem()?;
    if problem.source == ProblemSource::Inline && problem.x.is_none() { problem.sha256.as_deref() } else { None }
}

/// Writes the dataset's hash into the spec; one that is there must be the same.
fn pin(given: &mut Option<String>, dataset: &Dataset, pointer: &str) -> Result<(), FieldError> {
    match given {
        Some(given) if *given != dataset.sha256 => {
            Err(error(pointer, format!("the dataset `{}` has the hash {}", dataset.name, dataset.sha256)))
        }
        _ => {
            *given = Some(dataset.sha256.clone());
            Ok(())
        }
    }
}

fn error(pointer: &str, detail: String) -> FieldError {
    FieldError { pointer: pointer.to_owned(), detail }
}
