#!/usr/bin/env python3
"""Evaluates a run's model in PyTorch and compares with what the run reported.

    scripts/evaluate_in_pytorch.py model.safetensors model.json TEST_BATCH.bin [--label 7] [--reported 0.5954]

Loads model.safetensors into the PyTorch networks with strict=True, computes grey pictures and classes from the CIFAR records and
the palette of model.json, and prints the accuracy. Exits with 1 if it differs by more than 0.1 points from --reported (default:
val_accuracy of model.json). Needs torch, numpy and safetensors."""
import argparse
import json
import pathlib
import sys

import numpy as np
import torch
from safetensors.torch import load_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "worker" / "tests" / "reference_cases"))
from pytorch_nets import NETS  # noqa: E402


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("description")
    parser.add_argument("records")
    parser.add_argument("--label", type=int, default=None)
    parser.add_argument("--reported", type=float, default=None)
    arguments = parser.parse_args()

    description = json.loads(pathlib.Path(arguments.description).read_text())
    network = description["network"]
    palette = np.array(description["palette"])
    net = NETS[network["name"]](network["kernel"], network["num_filters"], len(palette))
    net.load_state_dict(load_file(arguments.model), strict=True)
    net.eval()

    rows = np.frombuffer(pathlib.Path(arguments.records).read_bytes(), np.uint8).reshape(-1, 3073)
    if arguments.label is not None:
        rows = rows[rows[:, 0] == arguments.label]
    rgb = rows[:, 1:].reshape(-1, 3, 32, 32) / 256.0
    grey = torch.tensor(rgb.mean(1, keepdims=True), dtype=torch.float32)
    pixels = rgb.transpose(0, 2, 3, 1).reshape(-1, 3)
    nearest = [((part[:, None] - palette) ** 2).sum(2).argmin(1) for part in np.array_split(pixels, 50)]
    classes = torch.tensor(np.concatenate(nearest).reshape(-1, 32, 32))
    with torch.no_grad():
        predicted = torch.cat([net(grey[i : i + 100]).argmax(1) for i in range(0, len(grey), 100)])
    accuracy = (predicted == classes).double().mean().item()
    reported = arguments.reported if arguments.reported is not None else description["val_accuracy"]
    print(f"{network['name']}: PyTorch {100 * accuracy:.3f} %, the run {100 * reported:.3f} %, difference {100 * abs(accuracy - reported):.4f} points")
    return 0 if abs(accuracy - reported) <= 0.001 else 1


if __name__ == "__main__":
    sys.exit(main())
