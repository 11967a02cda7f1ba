//! The GPU of a worker: image sets that lie on it, and whether it still works.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use trainyard_gpu::{DataSet, Driver, GpuError, Monitor, Reading, Regression};

use crate::data::Prepared;
use crate::data::prepared::Examples;

/// Training and validation images on the card.
#[derive(Debug)]
pub(super) struct Sets {
    pub(super) train: DataSet,
    pub(super) val: DataSet,
}

/// A GPU that runs are trained on.
#[derive(Debug)]
pub struct Card {
    driver: Arc<dyn Driver>,
    required: bool,
    lost: AtomicBool,
    monitor: Option<Arc<dyn Monitor>>,
    regressions_from: usize,
    /// Those that a run uses; others are let go.
    sets: Mutex<Vec<(Weak<Prepared>, Weak<Sets>)>>,
}

impl Card {
    /// Where it is `required`, nothing is trained elsewhere.
    #[must_use]
    pub fn new(driver: Arc<dyn Driver>, required: bool) -> Self {
        let (lost, sets) = (AtomicBool::new(false), Mutex::default());
        Self { driver, required, lost, monitor: None, regressions_from: Regression::WORTH, sets }
    }

    /// With something that measures it.
    #[must_use]
    pub fn with_monitor(mut self, monitor: Option<Arc<dyn Monitor>>) -> Self {
        self.monitor = monitor;
        self
    }

    /// With another bound for regressions: those whose X has at least so many numbers are trained on the card.
    #[must_use]
    pub fn with_regressions_from(mut self, numbers: usize) -> Self {
        self.regressions_from = numbers;
        self
    }

    /// Whether a regression is large enough to profit.
    pub(super) fn takes(&self, numbers: usize) -> bool {
        !self.is_lost() && numbers >= self.regressions_from
    }

    /// A look at the card.
    pub(super) fn reading(&self) -> Reading {
        self.monitor.as_ref().map(|monitor| monitor.read()).unwrap_or_default()
    }

    /// The driver, as long as the card works.
    ///
    /// # Errors
    /// [`GpuError::Device`] once the card is lost.
    pub(super) fn driver(&self) -> Result<&Arc<dyn Driver>, GpuError> {
        if self.is_lost() {
            return Err(GpuError::Device("the GPU was lost before this run: the worker needs a new start".to_owned()));
        }
        Ok(&self.driver)
    }

    /// Whether nothing may be trained elsewhere.
    #[must_use]
    pub fn is_required(&self) -> bool {
        self.required
    }

    /// Whether it failed once: a process gets no more work out of it then.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Uses it no more.
    pub(super) fn lose(&self, error: &GpuError) {
        if !self.lost.swap(true, Ordering::Relaxed) {
            let next = if self.required { "the worker ends" } else { "this worker trains on the CPU from now on" };
            tracing::error!(%error, "the GPU is lost: {next}");
        }
    }

    /// The images of a set on the card: brought there once for all runs that use them at a time.
    pub(super) fn sets(&self, prepared: &Arc<Prepared>) -> Result<Arc<Sets>, GpuError> {
        let driver = self.driver()?;
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        sets.retain(|(_, sets)| sets.strong_count() > 0);
        let known = sets.iter().find(|(of, _)| Weak::ptr_eq(of, &Arc::downgrade(prepared))).and_then(|(_, sets)| sets.upgrade());
        if let Some(known) = known {
            return Ok(known);
        }
        let put = |examples: &Examples| DataSet::new(&**driver, &examples.grey, &examples.classes, 1, (prepared.height, prepared.width));
        let new = Arc::new(Sets { train: put(&prepared.train)?, val: put(&prepared.val)? });
        sets.push((Arc::downgrade(prepared), Arc::downgrade(&new)));
        Ok(new)
    }
}
