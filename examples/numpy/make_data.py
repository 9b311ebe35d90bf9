"""Generates rows of two intertwined spirals, cut into shards: train_1.npz ... and validate_1.npz."""

import argparse
from pathlib import Path

import numpy as np


def shard(rng, count):
    labels = rng.integers(0, 2, count)
    radius = np.sqrt(rng.uniform(0.02, 1, count))
    angle = 5 * radius + np.pi * labels
    rows = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return {"rows": rows + rng.normal(0, 0.06, rows.shape), "labels": labels}


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path, nargs="?", default=Path("data"))
    arguments.add_argument("--shards", type=int, default=4)
    arguments.add_argument("--rows", type=int, default=500, help="in each shard")
    arguments.add_argument("--seed", type=int, default=1)
    chosen = arguments.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    names = [f"train_{number}" for number in range(1, chosen.shards + 1)] + ["validate_1"]
    for number, name in enumerate(names):
        rng = np.random.default_rng([chosen.seed, number])
        np.savez(chosen.folder / f"{name}.npz", **shard(rng, chosen.rows))
    print(f"{len(names)} files of {chosen.rows} rows in {chosen.folder}")
