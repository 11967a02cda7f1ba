#!/usr/bin/env python3
"""Trains the three networks on the CIFAR-10 horses through the service and writes docs/results.md.

    scripts/reproduce_results.py DATA_DIR [--binary target/release/trainyard] [--epochs 25] [--keep DIR]

DATA_DIR holds data_batch_1.bin and test_batch.bin (label 7 is used). Starts `trainyard up` on a free loopback port, uploads the images
with `trainyard datasets add`, submits one sweep over network.name with curl, waits, and compares the curves with the PyTorch
reference's. Exits with 1 if a run's mean validation accuracy over its last five epochs leaves its band. --keep keeps the service's
data folder there, with the models."""
import argparse
import datetime
import json
import os
import pathlib
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
# PyTorch 2.15 on the same images, seed 0: validation accuracy (%) after these epochs, its last loss, and the band in which the mean
# over a run's last five epochs must lie.
EPOCHS = [1, 5, 10, 15, 20, 25]
REFERENCE = {
    "pool_upsample": ([25.2, 36.1, 38.1, 39.1, 39.8, 40.3], 1.5936, (39.0, 42.0)),
    "conv_transpose": ([30.2, 42.9, 49.1, 51.6, 53.8, 55.1], 1.1273, (53.0, 57.0)),
    "unet": ([32.3, 45.6, 53.0, 56.5, 58.7, 60.1], 1.0171, (57.5, 61.5)),
}


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/release/trainyard")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--keep", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs/results.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        return run(arguments, arguments.keep or pathlib.Path(temporary))


def run(arguments, folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % free.getsockname()[1]
    url = "http://" + address
    data_dir = folder / "data"
    up = subprocess.Popen([arguments.binary, "up", "--data-dir", data_dir, "--listen", address, "--workers", "1"])
    try:
        token_file = data_dir / "admin.token"
        while not token_file.exists() or subprocess.run(["curl", "-sf", "-o", "/dev/null", url + "/readyz"]).returncode:
            assert up.poll() is None, "the service ended at its start"
            time.sleep(0.2)
        token = token_file.read_text().strip()
        environment = os.environ | {"TRAINYARD_URL": url, "TRAINYARD_TOKEN": token}
        files = ["--train", arguments.data / "data_batch_1.bin", "--val", arguments.data / "test_batch.bin"]
        subprocess.run([arguments.binary, "datasets", "add", "horses", *files], env=environment, check=True)

        def curl(path, *more):
            command = ["curl", "-sS", "--fail-with-body", "-H", f"Authorization: Bearer {token}", *more, url + path]
            return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)

        job = {
            "name": "horses",
            "spec": {
                "kind": "colourization",
                "dataset": {"name": "horses", "category": "horse"},
                "network": {"name": "unet", "kernel": 3, "num_filters": 32},
                "num_colours": 24,
                "optimizer": {"name": "adam", "learning_rate": 0.001},
                "batch_size": 100,
                "epochs": arguments.epochs,
                "shuffle": False,
                "seed": 0,
            },
            "sweep": {"network.name": list(REFERENCE)},
        }
        accepted = curl("/v1/jobs", "-H", "Content-Type: application/json", "-d", json.dumps(job))
        print("submitted", accepted, flush=True)
        results = {}
        for run_id, name in zip(accepted["run_ids"], REFERENCE):
            while (answer := curl(f"/v1/runs/{run_id}", "-H", "Prefer: wait=30"))["state"] in ("queued", "running"):
                print(run_id, name, answer["progress"], flush=True)
                time.sleep(5)
            assert answer["state"] == "succeeded", answer
            history = curl(f"/v1/runs/{run_id}/metrics?names=val_accuracy,val_loss,epoch_seconds")
            results[name] = {series["name"]: [point["value"] for point in series["points"]] for series in history["series"]}
            if arguments.keep:
                for artifact in ("model.safetensors", "model.json"):
                    target = folder / f"{name}.{artifact}"
                    subprocess.run([arguments.binary, "artifacts", str(run_id), artifact, "-o", target], env=environment, check=True)
    finally:
        up.send_signal(signal.SIGTERM)
        up.wait(timeout=60)
    page, inside = report(results, arguments.epochs)
    arguments.out.write_text(page)
    print(page)
    return 0 if inside else 1


def report(results, epochs):
    lines = [
        "# Results",
        "",
        "The three networks on the CIFAR-10 horses (5,000 for training, 1,000 for validation; the files went through JPEG once), trained",
        f"through the service: Adam, learning rate 0.001, batch 100, {epochs} epochs in file order, kernel 3, 32 filters, 24 colours, seed 0.",
        f"Written by `scripts/reproduce_results.py` on {datetime.date.today()}, {processor()}, {os.cpu_count()} cores.",
        "",
        "| network | mean accuracy of the last five epochs | must be | last accuracy | last val loss | PyTorch 2.15: accuracy, val loss | seconds an epoch (median) |",
        "|---|---|---|---|---|---|---|",
    ]
    inside = True
    for name, (reference, reference_loss, (least, most)) in REFERENCE.items():
        accuracy = [100 * value for value in results[name]["val_accuracy"]]
        mean = sum(accuracy[-5:]) / len(accuracy[-5:])
        inside &= least <= mean <= most
        seconds = sorted(results[name]["epoch_seconds"])
        lines.append(
            f"| {name} | **{mean:.2f} %** | {least:g}–{most:g} % | {accuracy[-1]:.2f} % | {results[name]['val_loss'][-1]:.4f} "
            f"| {reference[-1]:.2f} %, {reference_loss:.4f} | {seconds[len(seconds) // 2]:.1f} |"
        )
    lines += ["", "Validation accuracy (%) after so many epochs, ours and the reference's:", ""]
    lines.append("| network | " + " | ".join(str(epoch) for epoch in EPOCHS) + " |")
    lines.append("|---" * (len(EPOCHS) + 1) + "|")
    for name, (reference, _, _) in REFERENCE.items():
        accuracy = [100 * value for value in results[name]["val_accuracy"]]
        ours = [f"{accuracy[epoch - 1]:.1f}" if epoch <= len(accuracy) else "" for epoch in EPOCHS]
        lines.append(f"| {name} | " + " | ".join(ours) + " |")
        lines.append(f"| {name}, PyTorch | " + " | ".join(f"{value:.1f}" for value in reference) + " |")
    lines += ["", "Every epoch:", "", "| epoch | " + " | ".join(f"{name} loss, accuracy" for name in REFERENCE) + " |", "|---" * (len(REFERENCE) + 1) + "|"]
    for epoch in range(epochs):
        cells = [f"{results[name]['val_loss'][epoch]:.4f}, {100 * results[name]['val_accuracy'][epoch]:.2f} %" for name in REFERENCE]
        lines.append(f"| {epoch + 1} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n", inside


if __name__ == "__main__":
    sys.exit(main())
