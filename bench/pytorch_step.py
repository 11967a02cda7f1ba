"""One network in PyTorch on CIFAR-10 records: prints milliseconds per step of the second epoch and peak memory in MB.
The networks are those of worker/tests/reference_cases/pytorch_nets.py; classes are brightness in equal steps, as in
worker/examples/train.rs, since the arithmetic does not depend on them."""
import argparse
import pathlib
import resource
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "worker" / "tests" / "reference_cases"))
from pytorch_nets import NETS

ap = argparse.ArgumentParser()
ap.add_argument("network", choices=NETS)
ap.add_argument("--data", type=pathlib.Path, required=True)
ap.add_argument("--mode", choices=["eager", "channels_last", "compile"], required=True)
a = ap.parse_args()
records = np.frombuffer((a.data / "data_batch_1.bin").read_bytes(), np.uint8).reshape(-1, 3073)[:5000, 1:]
total = records.reshape(-1, 3, 32, 32).astype(np.int64).sum(1)
x, y = torch.tensor(total[:, None] / 768.0, dtype=torch.float32), torch.tensor(total * 24 // 766)
net = NETS[a.network]()
if a.mode == "channels_last":
    net, x = net.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
step = torch.compile(net) if a.mode == "compile" else net
adam = torch.optim.Adam(net.parameters(), lr=1e-3)
for epoch in range(2):
    start = time.perf_counter()
    for i in range(0, len(x), 100):
        adam.zero_grad()
        loss = F.cross_entropy(step(x[i : i + 100]), y[i : i + 100])
        loss.backward()
        adam.step()
        loss.item()
    ms = (time.perf_counter() - start) * 1e3 / (len(x) / 100)
print(f"{ms:.2f} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}")
