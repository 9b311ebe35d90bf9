"""Trains the round's parameters on one shard, by stochastic gradient descent."""

import os

# Sums in one order: the same bits whatever else the machine does. To be set before NumPy is there.
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"

import json

import numpy as np

import model
from tensors import load_file, save_file

EPOCHS = 3
BATCH = 20
RATE = 0.3

if __name__ == "__main__":
    rng = np.random.default_rng(int(os.environ["CONVOKE_SEED"]))
    parameters, (rows, labels) = load_file(os.environ["CONVOKE_BASE"]), model.shard()
    for _ in range(EPOCHS):
        order = rng.permutation(len(labels))
        for batch in np.array_split(order, -(-len(order) // BATCH)):
            for name, gradient in model.gradients(parameters, rows[batch], labels[batch]).items():
                parameters[name] -= RATE * gradient
    save_file(parameters, os.environ["CONVOKE_RESULT"])
    error, loss = model.measured(parameters, rows, labels)
    # `samples` is this result's weight in the merge; the rest is for you to see.
    print(json.dumps({"samples": len(labels), "train_error": error, "loss": loss}))
