"""Cuts scikit-learn's handwritten digits into shards: train_1.npz ... and validate_1.npz."""

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

SHARDS = 4

if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "data")
    folder.mkdir(parents=True, exist_ok=True)
    rows, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(1).permutation(len(labels))
    names = [f"train_{number}" for number in range(1, SHARDS + 1)] + ["validate_1"]
    for name, chosen in zip(names, np.array_split(order, len(names))):
        np.savez(folder / f"{name}.npz", rows=rows[chosen] / 16, labels=labels[chosen])
    print(f"{len(names)} files of digits in {folder}")
