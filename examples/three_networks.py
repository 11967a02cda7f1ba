# %% [markdown]
# # Three networks that colour grey pictures
#
# `pool_upsample` goes down and up again with pooling and upsampling, `conv_transpose` with strided and transposed convolutions, `unet`
# is the second with connections across. This notebook trains all three through Trainyard on the same pictures, looks at their curves
# as they come, and compares what they came to.
#
# The cells (`# %%`) open in VS Code, Spyder, PyCharm or Jupytext; as a program it is `python3 examples/three_networks.py`. It needs a
# server (`trainyard up`), `TRAINYARD_URL`, `TRAINYARD_TOKEN`, and of Python the standard library alone.

# %%
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(globals().get("__file__", "examples/x")).resolve().parent))
from client import Trainyard  # noqa: E402

yard = Trainyard()
NETWORKS = ["pool_upsample", "conv_transpose", "unet"]
EPOCHS = int(os.environ.get("EPOCHS", "20"))
IMAGES = int(os.environ.get("IMAGES", "1000"))

# %% [markdown]
# ## What is trained
#
# The server counts weights and connections without training anything: `POST /v1/tools/network`. The receptive field tells how far a
# layer sees.

# %%
SIZE = {"kernel": 3, "num_filters": 16, "in_channels": 1, "num_colours": 8, "height": 32, "width": 32}
for network in NETWORKS:
    size = yard.call("POST", "/v1/tools/network", SIZE | {"name": network})
    widest = max(layer["receptive_field"][1] for layer in size["layers"])
    print(f"{network:15} {size['weights']:7} weights, {size['connections']:10} connections, sees up to {widest} pixels")

# %% [markdown]
# ## Submit
#
# One job, whose sweep makes a run a network. The dataset `synthetic` is built in; with the CIFAR-10 horses
# (`trainyard datasets fetch cifar10`) it is `{"name": "cifar10", "category": "horse"}`. A dry run tells first what it will take.

# %%
job = {
    "name": "three networks",
    "spec": {
        "kind": "colourization",
        "dataset": {"name": "synthetic", "train_images": IMAGES, "val_images": max(IMAGES // 5, 1)},
        "network": {"name": "unet", "kernel": 3, "num_filters": 16},
        "num_colours": 8,
        "optimizer": {"name": "adam", "learning_rate": 0.001},
        "batch_size": min(100, IMAGES),
        "epochs": EPOCHS,
    },
    "sweep": {"network.name": NETWORKS},
}
for planned in yard.call("POST", "/v1/jobs", job, dry_run="true")["runs"]:
    estimate = planned["estimate"]
    print(planned["sweep_point"], f"{estimate['steps']} steps, {estimate['memory_bytes'] / 1e6:.0f} MB of memory")
accepted = yard.submit(job)
runs = yard.wait(accepted["run_ids"])
by_network = dict(zip(NETWORKS, (runs[run_id] for run_id in accepted["run_ids"])))

# %% [markdown]
# ## Curves
#
# The validation accuracy through the epochs. (With matplotlib: `plt.plot(*zip(*curve))`.)

# %%
curves = {}
for network, run in by_network.items():
    assert run["state"] == "succeeded", run["error"]
    curves[network] = yard.metrics(run["id"], "val_accuracy", "val_loss")
    accuracy = [value for _, value in curves[network]["val_accuracy"]]
    low, high = min(accuracy), max(accuracy)
    bars = "".join("▁▂▃▄▅▆▇█"[int(7 * (value - low) / ((high - low) or 1))] for value in accuracy)
    print(f"{network:15} {bars} from {100 * accuracy[0]:.1f} % to {100 * accuracy[-1]:.1f} %")

# %% [markdown]
# ## Side by side

# %%
comparison = yard.compare(accepted["run_ids"])
assert [row["path"] for row in comparison["differences"]] == ["network.name"], "the runs differ in nothing else"
print(f"{'':15} " + " ".join(f"{network:>15}" for network in NETWORKS))
for metric in ("val_loss", "val_accuracy", "train_loss"):
    values = [summary["last"] for summary in comparison["metrics"][metric]]
    print(f"{metric:15} " + " ".join(f"{value:15.4f}" for value in values))
best = min(NETWORKS, key=lambda network: curves[network]["val_loss"][-1][1])
print(f"the least validation loss has {best}")

# %% [markdown]
# ## Pictures
#
# Each row of a sample is grey, truth in the palette's colours, prediction, and error.

# %%
folder = pathlib.Path(os.environ.get("OUT", "."))
for network, run in by_network.items():
    artifacts = yard.call("GET", f"/v1/runs/{run['id']}/artifacts")["artifacts"]
    samples = sorted(artifact["name"] for artifact in artifacts if artifact["name"].startswith("samples/"))
    with yard.open("GET", f"/v1/runs/{run['id']}/artifacts/{samples[-1]}") as picture:
        target = folder / f"{network}.png"
        target.write_bytes(picture.read())
    print(f"{target}: {samples[-1]} of run {run['id']}")
