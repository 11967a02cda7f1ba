"""The unmodified client of MLflow against a Trainyard server: each call with what has to come of it.

    client.py URL TOKEN [TRAINED_RUN]

TRAINED_RUN is a finished regression that Trainyard trained. Prints how many calls were made, and ends with 1 where one of them goes wrong.
"""

import math
import os
import sys
import tempfile
import time
from pathlib import Path

url, token = sys.argv[1:3]
trained = sys.argv[3] if len(sys.argv) > 3 else None
os.environ["MLFLOW_TRACKING_TOKEN"] = token
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["GIT_PYTHON_REFRESH"] = "quiet"

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException

mlflow.set_tracking_uri(url)
calls = 0


def call(function, *args, **kwargs):
    """Makes a call of the client and counts it."""
    global calls
    calls += 1
    return function(*args, **kwargs)


def refused(code, function, *args, **kwargs):
    """Makes a call that has to be refused with this error code."""
    try:
        answer = call(function, *args, **kwargs)
    except MlflowException as error:
        assert error.error_code == code, f"{error.error_code} and not {code}: {error}"
        return str(error)
    raise AssertionError(f"{function.__name__} was not refused: {answer}")


client = MlflowClient()
name = f"client {time.time_ns()}"

# Experiments.
experiment = call(client.create_experiment, name, tags={"team": "vision"})
found = call(client.get_experiment, experiment)
assert (found.name, found.tags["team"], found.lifecycle_stage) == (name, "vision", "active"), found
assert call(client.get_experiment_by_name, name).experiment_id == experiment
assert call(client.get_experiment_by_name, "no such experiment") is None
refused("RESOURCE_ALREADY_EXISTS", client.create_experiment, name)
call(client.set_experiment_tag, experiment, "purpose", "check")
assert call(client.get_experiment, experiment).tags["purpose"] == "check"
call(client.rename_experiment, experiment, f"{name} renamed")
names = {it.name for it in call(client.search_experiments, filter_string="tags.purpose = 'check'")}
assert f"{name} renamed" in names, names
assert {"Default", "regression", "colourization"} <= {it.name for it in call(mlflow.search_experiments)}
other = call(client.create_experiment, f"{name} to delete")
call(client.delete_experiment, other)
assert call(client.get_experiment, other).lifecycle_stage == "deleted"
call(client.restore_experiment, other)
assert call(client.get_experiment, other).lifecycle_stage == "active"

# A run as programs log it, with the fluent API.
call(mlflow.set_experiment, f"{name} renamed")
with call(mlflow.start_run, run_name="fluent", tags={"topic": "baseline"}) as run:
    call(mlflow.log_param, "alpha", 0.1)
    call(mlflow.log_params, {"solver": "svd", "layers": [3, 5]})
    for step in range(5):
        call(mlflow.log_metric, "loss", 1 / (step + 1), step=step)
    call(mlflow.log_metrics, {"accuracy": 0.9, "recall": 0.8}, step=4)
    call(mlflow.log_metric, "odd", math.nan, step=0)
    call(mlflow.log_metric, "odd", math.inf, step=1)
    call(mlflow.log_metric, "odd", -math.inf, step=2)
    call(mlflow.set_tag, "stage", "trial")
    call(mlflow.set_tags, {"a": "1", "b": "2"})
    call(mlflow.delete_tag, "a")
    call(mlflow.log_text, "a line\n", "notes/first.txt")
    call(mlflow.log_dict, {"a": [1, 2]}, "settings.json")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "model.bin").write_bytes(bytes(range(256)) * 4096)
        (Path(folder) / "deep").mkdir()
        (Path(folder) / "deep" / "inner.txt").write_text("inner")
        call(mlflow.log_artifact, str(Path(folder) / "model.bin"))
        call(mlflow.log_artifacts, folder, artifact_path="folder")
    fluent = run.info.run_id
    refused("INVALID_PARAMETER_VALUE", client.log_param, fluent, "alpha", 0.2)
    call(mlflow.log_param, "alpha", 0.1)

read = call(client.get_run, fluent)
assert read.info.status == "FINISHED" and read.info.run_name == "fluent", read.info
assert read.info.end_time >= read.info.start_time
assert read.data.params == {"alpha": "0.1", "solver": "svd", "layers": "[3, 5]"}, read.data.params
assert (read.data.metrics["loss"], read.data.metrics["accuracy"], read.data.metrics["odd"]) == (0.2, 0.9, -math.inf), read.data.metrics
assert read.data.tags["topic"] == "baseline" and "a" not in read.data.tags and read.data.tags["b"] == "2", read.data.tags
history = call(client.get_metric_history, fluent, "loss")
assert [(it.step, it.value) for it in history] == [(step, 1 / (step + 1)) for step in range(5)], history
odd = call(client.get_metric_history, fluent, "odd")
assert math.isnan(odd[0].value) and [it.value for it in odd[1:]] == [math.inf, -math.inf], odd
assert call(client.get_metric_history, fluent, "no such metric") == []

# Files.
files = {it.path: (it.is_dir, it.file_size) for it in call(client.list_artifacts, fluent)}
assert files == {"folder": (True, None), "model.bin": (False, 1 << 20), "notes": (True, None), "settings.json": (False, files["settings.json"][1])}, files
assert [it.path for it in call(client.list_artifacts, fluent, "folder")] == ["folder/deep", "folder/model.bin"]
with tempfile.TemporaryDirectory() as folder:
    model = call(client.download_artifacts, fluent, "model.bin", folder)
    assert Path(model).read_bytes() == bytes(range(256)) * 4096
    inner = call(mlflow.artifacts.download_artifacts, run_id=fluent, artifact_path="folder", dst_path=folder)
    assert (Path(inner) / "deep" / "inner.txt").read_text() == "inner"
assert call(mlflow.artifacts.load_text, f"runs:/{fluent}/notes/first.txt") == "a line\n"
assert call(mlflow.artifacts.load_dict, f"runs:/{fluent}/settings.json") == {"a": [1, 2]}

# A run with the client's own calls.
now = int(time.time() * 1000)
second = call(client.create_run, experiment, start_time=now, tags={"topic": "other"}, run_name="second").info.run_id
points = [Metric("loss", 1.0 / (1 + index), now + index, index) for index in range(1000)]
call(client.log_batch, second, metrics=points, params=[Param("alpha", "0.5")], tags=[RunTag("seen", "yes")])
call(client.log_batch, second, metrics=points)
assert len(call(client.get_metric_history, second, "loss")) == 1000
call(client.update_run, second, name="renamed")
call(client.set_terminated, second, "FAILED")
ended = call(client.get_run, second)
assert (ended.info.status, ended.info.run_name, ended.data.tags["mlflow.runName"]) == ("FAILED", "renamed", "renamed"), ended.info
with call(mlflow.start_run, run_id=second):
    call(mlflow.log_metric, "late", 1.0)
assert call(client.get_run, second).data.metrics["late"] == 1.0
# The same step again is another point, and the last one is the value.
for value in (0.5, 0.7, 0.5):
    call(client.log_metric, second, "again", value)
assert call(client.get_run, second).data.metrics["again"] == 0.5

# Searches.
frame = call(mlflow.search_runs, experiment_ids=[experiment], order_by=["metrics.accuracy DESC"])
assert list(frame["run_id"]) == [fluent, second] and frame["metrics.accuracy"][0] == 0.9 and frame["params.alpha"][1] == "0.5", frame
assert list(frame["tags.topic"]) == ["baseline", "other"] and list(frame["status"]) == ["FINISHED", "FINISHED"], frame
for condition, expected in [
    ("metrics.accuracy > 0.5", [fluent]),
    ("params.alpha = '0.5' AND metrics.loss < 1", [second]),
    ("params.solver LIKE 's%'", [fluent]),
    ("tags.topic ILIKE 'OTH%'", [second]),
    ("attributes.status = 'FINISHED' and tags.`seen` = 'yes'", [second]),
    ("attributes.run_name = 'fluent'", [fluent]),
    (f"attributes.start_time >= {now}", [second]),
    ("params.solver IS NULL", [second]),
    ("metrics.accuracy > 0.95", []),
]:
    assert [it.info.run_id for it in call(client.search_runs, [experiment], condition)] == expected, condition
refused("INVALID_PARAMETER_VALUE", client.search_runs, [experiment], "metrics.loss < 1 OR metrics.loss > 2")
for _ in range(3):
    call(client.create_run, experiment)
first = call(client.search_runs, [experiment], max_results=3)
rest = call(client.search_runs, [experiment], max_results=3, page_token=first.token)
assert len(first) == 3 and len(rest) == 2 and not rest.token
assert len({it.info.run_id for it in first + rest}) == 5
call(client.delete_run, second)
assert second not in [it.info.run_id for it in call(client.search_runs, [experiment])]
deleted = call(client.search_runs, [experiment], run_view_type=ViewType.DELETED_ONLY)
assert [it.info.run_id for it in deleted] == [second] and deleted[0].info.lifecycle_stage == "deleted"
call(client.restore_run, second)
refused("RESOURCE_DOES_NOT_EXIST", client.get_run, "999999")
refused("RESOURCE_DOES_NOT_EXIST", client.get_experiment, "999999")

# A run that Trainyard trained: read like any other, and written to by its worker alone.
if trained:
    run = call(client.get_run, trained)
    assert run.info.status == "FINISHED" and run.data.params["kind"] == "regression", run
    assert run.data.params["optimizer.name"] and "loss" in run.data.metrics and run.data.tags["trainyard.job_id"], run.data
    history = call(client.get_metric_history, trained, "loss")
    assert history[-1].value == run.data.metrics["loss"] and len(history) > 1
    frame = call(mlflow.search_runs, experiment_names=["regression"], filter_string="params.optimizer.name = 'gd'")
    assert trained in list(frame["run_id"]), frame
    assert call(client.list_artifacts, trained) == []
    refused("INVALID_STATE", client.log_metric, trained, "loss", 1.0)
    refused("INVALID_STATE", client.log_param, trained, "alpha", 1.0)
    call(client.set_tag, trained, "judged", "good")
    assert call(client.get_run, trained).data.tags["judged"] == "good"

print(f"{calls} calls of mlflow {mlflow.__version__} were answered as they should be")
