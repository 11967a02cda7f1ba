"""A program of your own logs a run to Trainyard over plain HTTP: `pip install requests`, then

    TRAINYARD_URL=http://127.0.0.1:8080 TRAINYARD_TOKEN=… python external_requests.py
"""

import json
import os
import platform
import random
import sys

import requests

session = requests.Session()
session.headers["Authorization"] = f"Bearer {os.environ['TRAINYARD_TOKEN']}"
base = os.environ.get("TRAINYARD_URL", "http://127.0.0.1:8080") + "/v1/runs"


def ask(method, url, **body):
    answer = session.request(method, url, **body)
    if not answer.ok:
        sys.exit(f"{method} {url}: {answer.text}")
    return answer


# Something to log: gradient descent on a ridge regression in two weights.
random.seed(0)
rows = [[random.gauss(0, 1), random.gauss(0, 1)] for _ in range(50)]
targets = [3 * row[0] - row[1] + random.gauss(0, 0.1) for row in rows]
alpha, rate, weights = 0.01, 0.1, [0.0, 0.0]

opened = ask("POST", base, json={
    "name": "ridge",
    "tags": {"topic": "example"},
    "params": {"alpha": alpha, "learning_rate": rate, "intercept": False},
    "host": platform.node() or "unknown",
    "command": " ".join(sys.argv),
})
run = base + f"/{opened.json()['id']}"

points = []
for step in range(1, 201):
    errors = [sum(w * x for w, x in zip(weights, row)) - target for row, target in zip(rows, targets)]
    loss = sum(error * error for error in errors) / len(rows) + alpha * sum(w * w for w in weights)
    points.append({"name": "loss", "step": step, "value": loss})
    for i in range(2):
        slope = 2 * sum(error * row[i] for error, row in zip(errors, rows)) / len(rows) + 2 * alpha * weights[i]
        weights[i] -= rate * slope
    # Many points to a request; sending one again would change nothing.
    if len(points) == 50:
        ask("POST", f"{run}/metrics", json={"metrics": points})
        points.clear()

ask("POST", f"{run}/params", json={"params": {"steps": step}})
ask("PUT", f"{run}/artifacts/weights.json", data=json.dumps(weights))
ended = ask("POST", f"{run}/finish", json={"state": "succeeded"}).json()
print(f"run {ended['id']} {ended['state']} with a loss of {ended['summary']['loss']['last']:.4f}")
