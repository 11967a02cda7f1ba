"""MLflow's own client logs runs to Trainyard and finds them again: `pip install mlflow-skinny pandas`, then

    TRAINYARD_URL=http://127.0.0.1:8080 TRAINYARD_TOKEN=… python mlflow_client.py
"""

import os

# MLflow's client reads the token from here.
os.environ["MLFLOW_TRACKING_TOKEN"] = os.environ["TRAINYARD_TOKEN"]

import mlflow

mlflow.set_tracking_uri(os.environ.get("TRAINYARD_URL", "http://127.0.0.1:8080"))
mlflow.set_experiment("parabola")

for rate in (0.1, 0.4, 0.9):
    with mlflow.start_run(run_name=f"rate {rate}"):
        mlflow.log_params({"learning_rate": rate, "start": 4.0})
        x = 4.0
        for step in range(20):
            mlflow.log_metric("loss", x * x, step=step)
            x -= rate * 2 * x
        mlflow.log_text(f"ended at {x}\n", "end.txt")

best = mlflow.search_runs(filter_string="metrics.loss < 1", order_by=["metrics.loss ASC"])
print(best[["run_id", "tags.mlflow.runName", "params.learning_rate", "metrics.loss"]])

# The runs that Trainyard trains are there too, an experiment for each kind.
trained = mlflow.search_runs(experiment_names=["regression"], max_results=5)
print(f"{len(trained)} regressions that Trainyard trained")
