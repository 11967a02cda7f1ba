//! Generated histories: whatever is asked of the store in whatever order, with kills, restarts and failing commits between, it answers and
//! holds what the [`model`] of the queue says.
//!
//! The store is the real one, on a real folder. A kill leaves the folder as it is on the disk at that moment, with nothing closed; a
//! failing commit fails before or after it took effect, and the process goes on or is killed. After each command the states of all
//! runs are compared, after each kill and at the end everything. A history that goes wrong is made as short as it can be.

pub mod model;
mod world;

use std::path::PathBuf;

use anyhow::Context as _;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use trainyard_server::store::Action;
use trainyard_wire::worker::Outcome;

use crate::checker::{Breach, Violation};
use crate::figures::Summary;
use world::World;

/// What is done.
#[derive(Clone, Debug)]
pub struct Plan {
    pub folder: PathBuf,
    pub seed: u64,
    pub histories: u32,
    pub commands: usize,
}

/// Something that is asked of the store. Runs, jobs and workers are picked by a number that is taken modulo how many there are.
#[derive(Clone, Debug)]
pub enum Command {
    Submit {
        runs: usize,
        priority: i32,
        small: bool,
    },
    /// The body and the key of an earlier submit again.
    SubmitAgain {
        job: usize,
    },
    /// The key of an earlier submit with another body.
    SubmitOther {
        job: usize,
    },
    Claim {
        worker: usize,
        max: usize,
        small: bool,
    },
    Report {
        run: usize,
        behind: i64,
        first: u64,
        points: u64,
        finish: Option<(Outcome, bool)>,
    },
    Checkpoint {
        run: usize,
        behind: i64,
        step: u64,
    },
    /// The last report or checkpoint again, whatever became of the run since.
    Repeat,
    /// Of all runs that the worker ever took.
    Heartbeat {
        worker: usize,
    },
    Expire,
    Act {
        run: usize,
        action: Action,
    },
    ActOnJob {
        job: usize,
        action: Action,
    },
    /// Contents that nothing needs go.
    Sweep,
    /// The store is closed and opened again.
    Restart,
    /// The process dies.
    Kill,
}

/// What goes wrong with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    None,
    /// The transaction fails before it is committed, or once it is.
    Commit {
        after: bool,
        kill: bool,
    },
}

/// A history.
pub type Commands = Vec<(Command, Trouble)>;

fn command() -> impl Strategy<Value = Command> {
    let action = prop_oneof![Just(Action::Cancel), Just(Action::Pause), Just(Action::Resume), Just(Action::Retry)];
    let outcome = prop_oneof![
        4 => Just(Outcome::Succeeded), 2 => Just(Outcome::Failed), 1 => Just(Outcome::Cancelled), 2 => Just(Outcome::Paused), 2 => Just(Outcome::Released),
    ];
    // Mostly the attempt that holds the run; else one before, or one that is still to come.
    let behind = prop_oneof![6 => Just(0i64), 2 => Just(1i64), 1 => Just(2i64), 1 => Just(-1i64)];
    let number = 0usize..1000;
    prop_oneof![
        3 => (1usize..4, -1i32..2, any::<bool>()).prop_map(|(runs, priority, small)| Command::Submit { runs, priority, small }),
        1 => number.clone().prop_map(|job| Command::SubmitAgain { job }),
        1 => number.clone().prop_map(|job| Command::SubmitOther { job }),
        6 => (0usize..3, 1usize..5, prop::bool::weighted(0.2)).prop_map(|(worker, max, small)| Command::Claim { worker, max, small }),
        8 => (number.clone(), behind.clone(), 0u64..20, 0u64..5, prop::option::weighted(0.35, (outcome, prop::bool::weighted(0.3))))
            .prop_map(|(run, behind, first, points, finish)| Command::Report { run, behind, first, points, finish }),
        4 => (number.clone(), behind, 0u64..10).prop_map(|(run, behind, step)| Command::Checkpoint { run, behind, step }),
        3 => Just(Command::Repeat),
        1 => (0usize..3).prop_map(|worker| Command::Heartbeat { worker }),
        3 => Just(Command::Expire),
        4 => (number.clone(), action.clone()).prop_map(|(run, action)| Command::Act { run, action }),
        1 => (number, action).prop_map(|(job, action)| Command::ActOnJob { job, action }),
        1 => Just(Command::Sweep),
        1 => Just(Command::Restart),
        2 => Just(Command::Kill),
    ]
}

fn trouble() -> impl Strategy<Value = Trouble> {
    prop_oneof![
        9 => Just(Trouble::None),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(after, kill)| Trouble::Commit { after, kill }),
    ]
}

/// Does it.
///
/// # Errors
/// Where the battery itself cannot go on; what the store does wrong is in the summary.
pub fn run(plan: &Plan) -> anyhow::Result<Summary> {
    let mut summary = Summary::new("histories", plan.seed);
    std::fs::create_dir_all(&plan.folder)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().context("cannot start the runtime")?;
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&plan.seed.to_le_bytes());
    let config = Config { cases: plan.histories, failure_persistence: None, max_shrink_iters: 2000, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let tally = std::cell::RefCell::new(world::Tally::default());
    let histories = proptest::collection::vec((command(), trouble()), plan.commands);
    let outcome = runner.run(&histories, |commands| {
        let done = runtime.block_on(World::live(&plan.folder, &commands));
        match done {
            Ok(done) => tally.borrow_mut().add(&done),
            Err(error) => return Err(TestCaseError::fail(format!("{error:#}"))),
        }
        Ok(())
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(reason, commands)) => {
            let detail = format!("{reason}; the shortest history that shows it: {commands:#?}");
            summary.violations.push(Violation { breach: Breach::Changed, detail });
        }
        Err(TestError::Abort(reason)) => anyhow::bail!("the histories could not be generated: {reason}"),
    }
    let tally = tally.into_inner();
    summary.count("histories", tally.histories);
    summary.count("commands", tally.commands);
    summary.count("kills", tally.kills);
    summary.count("failed commits", tally.failed);
    summary.count("runs", tally.runs);
    Ok(summary)
}
