"""Submits a job and reads its run through the client that scripts/generated-client made (the package `client`).

use_generated_client.py URL TOKEN
"""

import importlib
import pkgutil
import sys

import client
from client.api.jobs import get_jobs, post_jobs
from client.api.runs import get_run, get_run_metrics, post_run_cancel
from client.models import DryRun, JobAccepted, MetricHistory, PageJob, Problem, Run, SubmitRequest
from client.models.run_state import RunState

url, token = sys.argv[1:3]
modules = [importlib.import_module(module.name) for module in pkgutil.walk_packages(client.__path__, "client.")]
operations = sum(hasattr(module, "sync_detailed") for module in modules)

server = client.AuthenticatedClient(base_url=url, token=token)
job = SubmitRequest.from_dict(
    {
        "name": "counterexample",
        "spec": {
            "kind": "regression",
            "problem": {"source": "inline", "x": [[2, 1]], "t": [2]},
            "optimizer": {"name": "gd", "learning_rate": 0.1},
            "steps": 50,
        },
        "sweep": {"optimizer.learning_rate": [0.1, 0.05]},
    }
)
planned = post_jobs.sync(client=server, body=job, dry_run=True)
assert isinstance(planned, DryRun) and planned.run_count == 2, planned
accepted = post_jobs.sync(client=server, body=job)
assert isinstance(accepted, JobAccepted) and len(accepted.run_ids) == 2, accepted

run = get_run.sync(accepted.run_ids[1], client=server)
assert isinstance(run, Run) and run.state == RunState.QUEUED and run.job_id == accepted.id, run
assert run.spec.kind == "regression" and run.spec.optimizer.learning_rate == 0.05 and run.spec.steps == 50, run.spec
assert run.sweep_point.additional_properties == {"optimizer.learning_rate": 0.05}, run.sweep_point
metrics = get_run_metrics.sync(run.id, client=server)
assert isinstance(metrics, MetricHistory) and metrics.series == [], metrics
jobs = get_jobs.sync(client=server)
assert isinstance(jobs, PageJob) and [item.id for item in jobs.items] == [accepted.id], jobs
cancelled = post_run_cancel.sync(run.id, client=server)
assert isinstance(cancelled, Run) and cancelled.state == RunState.CANCELLED, cancelled
missing = get_run.sync(999999, client=server)
assert isinstance(missing, Problem) and missing.status == 404, missing
print(f"a client with {operations} operations submitted job {accepted.id} and read run {run.id}: {run.state}, then {cancelled.state}")
