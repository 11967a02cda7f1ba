"""Makes the table of compare_pytorch from its measurements: `threads network side ms peak_mb` a line."""
import collections
import datetime
import os
import statistics
import sys

# Multiply-adds of one image's step in the textbook algorithm: forward, weight gradient, input gradient but of layer1.
MULTIPLY_ADDS = {"pool_upsample": 39.3e6, "conv_transpose": 28.5e6, "unet": 34.4e6}

path, *peaks = sys.argv[1:]
runs = collections.defaultdict(list)
for line in open(path):
    threads, network, side, ms, memory = line.split()
    runs[int(threads), network, side].append((float(ms), int(memory)))
model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown")
print(f"{datetime.date.today()}, {model}; multiply-adds in registers: {peaks[0]} GFLOP/s on one thread, {peaks[1]} on two; load {os.getloadavg()[0]:.1f}\n")
print("| threads | network | ms per step | images/s | PyTorch eager | channels_last | compile | ratio to best | share of peak | peak MB (PyTorch) |")
print("|---|---|---|---|---|---|---|---|---|---|")
for threads in (2, 1):
    for network in MULTIPLY_ADDS:
        median = {side: statistics.median(ms for ms, _ in runs[threads, network, side])
                  for side in ("trainyard", "eager", "channels_last", "compile") if runs[threads, network, side]}
        ours = median.pop("trainyard")
        best = min(median, key=median.get)
        memory = [max(m for _, m in runs[threads, network, side]) for side in ("trainyard", best)]
        share = 2 * 100 * MULTIPLY_ADDS[network] / (ours * 1e6) / float(peaks[threads - 1])
        cells = [f"{median[side]:.1f}" if side in median else "–" for side in ("eager", "channels_last", "compile")]
        print(f"| {threads} | {network} | {ours:.1f} | {1e5 / ours:.0f} | {' | '.join(cells)} | {ours / median[best]:.2f} | {share:.0%} | {memory[0]} ({memory[1]}) |")
