"""Generates images of shapes, 16x16 pixels of grey, cut into shards: train_1.npz ... and validate_1.npz.

A filled square, a hollow square, a disc, a cross or stripes lies somewhere in noise. Equal seeds give equal images.
"""

import argparse
from pathlib import Path

import numpy as np

SIDE = 16
SHAPES = ("square", "frame", "disc", "cross", "stripes")


def image(rng, label):
    size = rng.integers(6, 13)
    top, left = rng.integers(0, SIDE - size + 1, size=2)
    row, column = np.mgrid[0:size, 0:size]
    middle = (size - 1) / 2
    shape = [
        np.ones((size, size)),
        (row < 2) | (row >= size - 2) | (column < 2) | (column >= size - 2),
        (row - middle) ** 2 + (column - middle) ** 2 <= middle**2 + 0.5,
        (abs(row - middle) < 1.1) | (abs(column - middle) < 1.1),
        row % 4 < 2,
    ][label]
    pixels = rng.normal(0.2, 0.15, (SIDE, SIDE))
    pixels[top : top + size, left : left + size] += rng.uniform(0.4, 0.8) * shape
    return pixels.clip(0, 1).astype(np.float32)


def shard(rng, count):
    labels = rng.integers(0, len(SHAPES), count)
    return {"images": np.stack([image(rng, label) for label in labels]), "labels": labels.astype(np.int64)}


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("folder", type=Path, nargs="?", default=Path("data"))
    arguments.add_argument("--shards", type=int, default=4)
    arguments.add_argument("--images", type=int, default=500, help="in each shard")
    arguments.add_argument("--seed", type=int, default=1)
    chosen = arguments.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    names = [f"train_{number}" for number in range(1, chosen.shards + 1)] + ["validate_1"]
    for number, name in enumerate(names):
        rng = np.random.default_rng([chosen.seed, number])
        np.savez(chosen.folder / f"{name}.npz", **shard(rng, chosen.images))
    print(f"{len(names)} files of {chosen.images} images in {chosen.folder}")
