"""The first 20 steps of every optimizer in NumPy (f64), for worker/tests/optimizers.rs to compare the trainer with.

    pip install numpy
    python worker/tests/optimizers/reference.py            # writes reference.json beside this file

The formulas are written down once more from the definitions, and nothing is taken from the trainer: the batches too are drawn here, by
the construction that theory/src/random.rs states (ChaCha with 8 rounds, Lemire's integers, Fisher-Yates). reference.json holds the
problem, the settings as a job's spec has them, the batches (examples of each step), and the weights after 0 to 20 steps.
"""

import json
import math
import pathlib

import numpy as np

STEPS = 20
MASK = (1 << 64) - 1


# Batches: a fresh permutation each epoch, a function of (seed, epoch), cut into pieces.


def chacha8(key, stream):
    """The keystream's 64-bit little-endian words: 8 rounds, a 64-bit counter from 0 and a 64-bit stream number."""

    def rotate(word, by):
        return ((word << by) | (word >> (32 - by))) & 0xFFFFFFFF

    def quarter(s, a, b, c, d):
        for x, y, z, by in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            s[x] = (s[x] + s[y]) & 0xFFFFFFFF
            s[z] = rotate(s[z] ^ s[x], by)

    keys = [int.from_bytes(key[i : i + 4], "little") for i in range(0, 32, 4)]
    constants = [int.from_bytes(b"expand 32-byte k"[i : i + 4], "little") for i in range(0, 16, 4)]
    counter = 0
    while True:
        start = constants + keys + [counter & 0xFFFFFFFF, counter >> 32, stream & 0xFFFFFFFF, stream >> 32]
        state = list(start)
        for _ in range(4):
            for a, b, c, d in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)):
                quarter(state, a, b, c, d)
            for a, b, c, d in ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
                quarter(state, a, b, c, d)
        words = [(one + other) & 0xFFFFFFFF for one, other in zip(state, start)]
        for low, high in zip(words[::2], words[1::2]):
            yield low | high << 32
        counter += 1


def below(words, bound):
    """Uniform among 0..bound: the high word of word·bound, where the low one is not under 2^64 mod bound."""
    while True:
        product = next(words) * bound
        if product & MASK >= (1 << 64) % bound:
            return product >> 64


def permutation(seed, epoch, n):
    words = chacha8(seed.to_bytes(8, "little") + bytes(24), epoch)  # Purpose 0 in the stream's high byte.
    order = list(range(n))
    for last in range(n - 1, 0, -1):
        chosen = below(words, last + 1)
        order[last], order[chosen] = order[chosen], order[last]
    return order


def batches_of(n, size, seed):
    if size is None:
        return [list(range(n))] * STEPS
    batches, epoch = [], 0
    while len(batches) < STEPS:
        order = permutation(seed, epoch, n)
        batches += [order[first : first + size] for first in range(0, n, size)]
        epoch += 1
    return batches[:STEPS]


# Optimizers.


def rate_of(optimizer, step):
    share = step / STEPS
    factor = {"constant": 1.0, "linear": 1.0 - share, "cosine": 0.5 * (1.0 + math.cos(math.pi * share))}
    return optimizer["learning_rate"] * factor[optimizer.get("schedule", "constant")]


def train(x, t, start, optimizer, l2, batches):
    """The weights after 0, 1, ... steps."""
    name = optimizer["name"]
    w = start.copy()
    velocity, mean_square = np.zeros_like(w), np.zeros_like(w)
    m, v = np.zeros_like(w), np.zeros_like(w)
    weights = [w.tolist()]
    for step, batch in enumerate(batches):
        rows, targets = x[batch], t[batch]
        g = 2.0 / len(batch) * rows.T @ (rows @ w - targets) + 2.0 * l2 * w
        eta = rate_of(optimizer, step)
        decay = optimizer.get("weight_decay", 0.0)
        if name in ("gd", "sgd"):
            w = (1.0 - decay) * w - eta * g
        elif name == "momentum":
            velocity = optimizer["beta"] * velocity + g
            w = (1.0 - decay) * w - eta * velocity
        elif name == "rmsprop":  # ε inside the root, no bias correction
            mean_square = optimizer["beta"] * mean_square + (1.0 - optimizer["beta"]) * g**2
            w = (1.0 - decay) * w - eta * g / np.sqrt(mean_square + optimizer["epsilon"])
        else:  # adam, adamw: bias correction, ε outside the root; adamw's decay is scaled by the rate
            if name == "adamw":
                w = w - eta * decay * w
            beta1, beta2 = optimizer["beta1"], optimizer["beta2"]
            m = beta1 * m + (1.0 - beta1) * g
            v = beta2 * v + (1.0 - beta2) * g**2
            m_hat, v_hat = m / (1.0 - beta1 ** (step + 1)), v / (1.0 - beta2 ** (step + 1))
            w = w - eta * m_hat / (np.sqrt(v_hat) + optimizer["epsilon"])
        weights.append(w.tolist())
    return weights


def settings():
    """(optimizer, l2) of every case."""
    adam = {"learning_rate": 0.05, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
    yield {"name": "gd", "learning_rate": 0.1}, 0.0
    yield {"name": "gd", "learning_rate": 0.1, "schedule": "linear"}, 0.05
    yield {"name": "gd", "learning_rate": 0.1, "weight_decay": 0.01, "schedule": "cosine"}, 0.0
    yield {"name": "sgd", "learning_rate": 0.05, "batch_size": 5}, 0.0
    yield {"name": "sgd", "learning_rate": 0.05, "batch_size": 4, "schedule": "cosine"}, 0.05
    yield {"name": "sgd", "learning_rate": 0.05, "batch_size": 1, "weight_decay": 0.01, "schedule": "linear"}, 0.02
    yield {"name": "momentum", "learning_rate": 0.02, "beta": 0.9}, 0.0
    yield {"name": "momentum", "learning_rate": 0.02, "beta": 0.8, "batch_size": 5, "weight_decay": 0.01}, 0.05
    yield {"name": "momentum", "learning_rate": 0.02, "beta": 0.9, "schedule": "linear"}, 0.05
    yield {"name": "rmsprop", "learning_rate": 0.01, "beta": 0.9, "epsilon": 1e-8}, 0.0
    yield {"name": "rmsprop", "learning_rate": 0.01, "beta": 0.99, "epsilon": 1e-2, "schedule": "cosine"}, 0.05
    yield {"name": "rmsprop", "learning_rate": 0.01, "beta": 0.9, "epsilon": 1e-3, "batch_size": 4, "weight_decay": 0.01}, 0.0
    yield {"name": "adam", **adam}, 0.0
    yield {"name": "adam", **adam, "epsilon": 1e-2, "schedule": "linear"}, 0.05
    yield {"name": "adam", **adam, "beta1": 0.8, "beta2": 0.95, "batch_size": 5}, 0.05
    yield {"name": "adamw", **adam, "weight_decay": 0.1}, 0.0
    yield {"name": "adamw", **adam, "weight_decay": 0.01, "schedule": "cosine"}, 0.05
    yield {"name": "adamw", **adam, "weight_decay": 0.5, "batch_size": 4, "schedule": "linear"}, 0.0


def main():
    assert next(chacha8(bytes(32), 0)).to_bytes(8, "little").hex() == "3e00ef2f895f40d6", "a published test vector"
    generator = np.random.default_rng(0)
    x = generator.standard_normal((12, 5)).round(3)
    t = generator.standard_normal(12).round(3)
    start = generator.standard_normal(5).round(3)
    cases = []
    for seed, (optimizer, l2) in enumerate(settings()):
        batches = batches_of(len(t), optimizer.get("batch_size"), seed)
        case = {"optimizer": optimizer, "l2": l2, "seed": seed}
        if "batch_size" in optimizer:
            case["batches"] = batches
        cases.append(case | {"weights": train(x, t, start, optimizer, l2, batches)})
    reference = {"x": x.tolist(), "t": t.tolist(), "initial_weights": start.tolist(), "steps": STEPS, "cases": cases}
    path = pathlib.Path(__file__).with_name("reference.json")
    path.write_text(json.dumps(reference, separators=(",", ":")).replace('{"optimizer"', '\n{"optimizer"') + "\n")
    print(f"{path}: {len(cases)} cases of {STEPS} steps, NumPy {np.__version__}")


if __name__ == "__main__":
    main()
