// What the form starts with for each kind: a small job that runs in a moment.

const PROBLEM = { source: "synthetic", n: 50, d: 10, condition: 20, noise: 0.1 };

const STARTERS = {
  regression: { kind: "regression", problem: PROBLEM, optimizer: { name: "gd", learning_rate: 0.1 }, steps: 500 },
  regularization_pair: {
    kind: "regularization_pair",
    problem: PROBLEM,
    initial_weights: "normal",
    optimizer: { name: "gd", learning_rate: 0.1 },
    l2: 0.05,
    steps: 300,
  },
  hypergradient: { kind: "hypergradient", problem: PROBLEM, l2: 0.1, inner_steps: 10, learning_rate: 0.01, outer_steps: 200 },
  colourization: {
    kind: "colourization",
    dataset: { name: "synthetic", train_images: 100, val_images: 20, size: 16 },
    network: { name: "unet", kernel: 3, num_filters: 8 },
    num_colours: 8,
    optimizer: { name: "adam", learning_rate: 0.001 },
    batch_size: 20,
    epochs: 5,
  },
};

export function starter(kind) {
  return structuredClone(STARTERS[kind] ?? { kind });
}
