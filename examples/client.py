#!/usr/bin/env python3
"""Submit a sweep, follow it, and compare its runs: Python's standard library and nothing else.

Start a server with `trainyard up`, then

    export TRAINYARD_URL=http://127.0.0.1:8080 TRAINYARD_TOKEN=$(cat trainyard-data/admin.token)
    python3 examples/client.py

The class is the whole client; copy it. With the requests package, `call` is `requests.request(...)` and `events` its `iter_lines`.
"""
import json
import os
import urllib.error
import urllib.parse
import urllib.request

ENDED = ("succeeded", "failed", "cancelled")


class Trainyard:
    def __init__(self, url=None, token=None):
        self.url = (url or os.environ.get("TRAINYARD_URL", "http://127.0.0.1:8080")).rstrip("/")
        self.token = token or os.environ["TRAINYARD_TOKEN"]

    def open(self, method, path, body=None, headers=(), **query):
        address = self.url + path + ("?" + urllib.parse.urlencode(query) if query else "")
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(address, data, {"Authorization": f"Bearer {self.token}", **dict(headers)}, method=method)
        if data is not None:
            request.add_header("Content-Type", "application/json")
        try:
            return urllib.request.urlopen(request, timeout=90)
        except urllib.error.HTTPError as error:
            # Every error is application/problem+json; `errors` points at the offending values.
            problem = json.load(error)
            raise RuntimeError(f"{problem['title']}: {problem['detail']}") from None

    def call(self, method, path, body=None, headers=(), **query):
        with self.open(method, path, body, headers, **query) as answer:
            return json.load(answer)

    def submit(self, job):
        return self.call("POST", "/v1/jobs", job)

    def run(self, run_id):
        return self.call("GET", f"/v1/runs/{run_id}")

    def events(self, run_ids, after):
        """What happens to these runs after a revision: a server-sent stream."""
        with self.open("GET", "/v1/events", runs=",".join(map(str, run_ids)), after_revision=after) as stream:
            for line in stream:
                if line.startswith(b"data:"):
                    yield json.loads(line[5:])

    def wait(self, run_ids):
        """The runs, once all have ended."""
        runs = {run_id: self.run(run_id) for run_id in run_ids}
        if all(run["state"] in ENDED for run in runs.values()):
            return runs
        # The oldest of what was just read: nothing that happened since is missed.
        for event in self.events(run_ids, min(run["revision"] for run in runs.values())):
            run = runs[event["run_id"]] = self.run(event["run_id"])
            print(f"run {run['id']}: {event['kind']}, step {run['progress']['step']} of {run['progress']['total_steps']}")
            if all(run["state"] in ENDED for run in runs.values()):
                return runs
        raise RuntimeError("the server ended the stream")

    def metrics(self, run_id, *names):
        """The history of each metric as [(step, value)]. NaN and the infinities come as strings, which float() reads."""
        history = self.call("GET", f"/v1/runs/{run_id}/metrics", names=",".join(names))
        return {series["name"]: [(point["step"], float(point["value"])) for point in series["points"]] for series in history["series"]}

    def compare(self, run_ids):
        return self.call("GET", "/v1/compare", runs=",".join(map(str, run_ids)))


def main():
    yard = Trainyard()
    job = yard.submit({
        "name": "python example",
        "tags": {"made by": "examples/client.py"},
        "spec": {
            "kind": "regression",
            "problem": {"source": "synthetic", "n": 50, "d": 10, "condition": 20, "noise": 0.1},
            "optimizer": {"name": "gd", "learning_rate": 0.05},
            "steps": 500,
        },
        "sweep": {"optimizer.name": ["gd", "momentum", "adam"]},
    })
    print("job", job["id"], "with the runs", job["run_ids"])
    runs = yard.wait(job["run_ids"])
    for run in runs.values():
        assert run["state"] == "succeeded", run["error"]
    comparison = yard.compare(job["run_ids"])
    names = next(row["values"] for row in comparison["differences"] if row["path"] == "optimizer.name")
    losses = [summary["last"] for summary in comparison["metrics"]["loss"]]
    for name, loss, run_id in sorted(zip(names, losses, job["run_ids"]), key=lambda row: row[1]):
        steps = [step for step, _ in yard.metrics(run_id, "loss")["loss"]]
        print(f"{name:10} loss {loss:.8f} after {steps[-1]} steps, recorded at {len(steps)} of them")


if __name__ == "__main__":
    main()
