"""The network, and what step.py, eval.py and init.py share: where parameters come from, and what a shard holds."""

import os

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

LABELS = 5


def network():
    """Batch normalisation shows that a model may have more than weights: its counter is an integer."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(16 * 4 * 4, LABELS),
    )


def repeatable(seed):
    """The same seed gives the same bits on the same machine: an attempt that is repeated brings the same result."""
    torch.manual_seed(seed % 2**63)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)


def base():
    """The network with the round's parameters."""
    model = network()
    model.load_state_dict(load_file(os.environ["CONVOKE_BASE"]))
    return model


def shard():
    """The images [n, 1, 16, 16] and labels [n] of this task's file."""
    with np.load(os.environ["CONVOKE_SHARD"]) as file:
        return torch.from_numpy(file["images"]).unsqueeze(1), torch.from_numpy(file["labels"])
