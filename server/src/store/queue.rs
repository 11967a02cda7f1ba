//! What a queued run waits for, in the order in which someone can do something about it: a worker, one with the memory, its turn.

use trainyard_wire::RunId;
use trainyard_wire::queue::{QueuePosition, WaitsFor};
use trainyard_wire::worker::Worker;

use super::{Store, StoreError};
use crate::db;

impl Store {
    /// Where a run stands in the queue; `None` if there is no such run.
    pub async fn queue_position(&self, id: RunId) -> Result<Option<QueuePosition>, StoreError> {
        let Some(place) = db::queue::place(&mut *self.reader().await?, id).await? else { return Ok(None) };
        let workers = self.workers().await?;
        let (waits_for, detail) = place.ahead.map(|ahead| reason(ahead, place.memory_bytes, &workers)).unzip();
        Ok(Some(QueuePosition {
            run_id: id,
            state: place.state,
            ahead: place.ahead,
            waits_for,
            detail,
            memory_bytes: place.memory_bytes,
            workers: workers.len() as u64,
            busy_workers: workers.iter().filter(|worker| is_busy(worker)).count() as u64,
        }))
    }
}

fn is_busy(worker: &Worker) -> bool {
    !worker.run_ids.is_empty()
}

/// Why a queued run is not taken yet.
fn reason(ahead: u64, memory_bytes: u64, workers: &[Worker]) -> (WaitsFor, String) {
    let bytes = |worker: &Worker| worker.memory_bytes.unwrap_or(u64::MAX);
    let Some(most) = workers.iter().map(bytes).max() else {
        let detail = "no worker is connected; `trainyard worker --server URL --token-file FILE` starts one";
        return (WaitsFor::Worker, detail.to_owned());
    };
    if most < memory_bytes {
        let (needed, most) = (mebibytes(memory_bytes), mebibytes(most));
        return (WaitsFor::Memory, format!("it may take {needed} of memory, and no connected worker has more than {most} for a run"));
    }
    let able: Vec<&Worker> = workers.iter().filter(|worker| bytes(worker) >= memory_bytes).collect();
    let before = match ahead {
        0 => None,
        1 => Some("one queued run comes before it".to_owned()),
        many => Some(format!("{many} queued runs come before it")),
    };
    let busy = able.iter().all(|worker| is_busy(worker)).then(|| match able.len() {
        1 => "the worker that can take it trains another run".to_owned(),
        many => format!("the {many} workers that can take it train other runs"),
    });
    let parts: Vec<String> = [before, busy].into_iter().flatten().collect();
    let detail = if parts.is_empty() { "an idle worker is about to take it".to_owned() } else { parts.join(", and ") };
    (WaitsFor::Turn, detail)
}

/// Upwards, so that what is wanted never reads as what there is.
fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

#[cfg(test)]
mod tests {
    use trainyard_wire::{RunId, Timestamp, WorkerId};

    use super::*;

    fn worker(memory_bytes: Option<u64>, busy: bool) -> Worker {
        let run_ids = if busy { vec![RunId(9)] } else { Vec::new() };
        Worker {
            id: WorkerId(1),
            pid: 1,
            host: String::new(),
            device: String::new(),
            threads: 1,
            memory_bytes,
            version: String::new(),
            run_id: run_ids.first().copied(),
            run_ids,
            registered_at: Timestamp(0),
            idle_seconds: 0.0,
        }
    }

    #[test]
    fn without_a_worker_it_is_said_how_to_start_one_however_long_the_queue_is() {
        for ahead in [0, 5] {
            let (waits_for, detail) = reason(ahead, 1, &[]);
            assert_eq!(waits_for, WaitsFor::Worker);
            assert!(detail.contains("trainyard worker --server"), "{detail}");
        }
    }

    #[test]
    fn a_run_over_every_workers_memory_waits_for_memory_and_one_at_it_for_its_turn() {
        let workers = [worker(Some(1 << 20), false), worker(Some(3 << 20), true)];
        let (waits_for, detail) = reason(0, (3 << 20) + 1, &workers);
        assert_eq!(waits_for, WaitsFor::Memory);
        assert_eq!(detail, "it may take 4 MiB of memory, and no connected worker has more than 3 MiB for a run");
        assert_eq!(reason(0, 3 << 20, &workers).0, WaitsFor::Turn);
        assert_eq!(reason(0, u64::MAX - 1, &[worker(None, true)]).0, WaitsFor::Turn);
    }

    #[test]
    fn a_turn_is_told_by_the_runs_before_and_by_the_workers_that_could_take_the_run() {
        let (idle, busy, too_small) = (worker(None, false), worker(None, true), worker(Some(1), false));
        let detail = |ahead, workers: &[Worker]| reason(ahead, 2, workers).1;
        assert_eq!(detail(0, &[idle.clone(), busy.clone()]), "an idle worker is about to take it");
        assert_eq!(detail(1, &[idle]), "one queued run comes before it");
        assert_eq!(detail(0, &[busy.clone(), too_small]), "the worker that can take it trains another run");
        let both = "12 queued runs come before it, and the 2 workers that can take it train other runs";
        assert_eq!(detail(12, &[busy.clone(), busy]), both);
    }
}
