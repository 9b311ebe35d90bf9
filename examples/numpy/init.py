"""Writes the parameters that the first round starts from: init.safetensors."""

import sys

import numpy as np

import model
from tensors import save_file

if __name__ == "__main__":
    path = sys.argv[1] if len(sys.argv) > 1 else "init.safetensors"
    save_file(model.start(np.random.default_rng(1)), path)
    print(path)
