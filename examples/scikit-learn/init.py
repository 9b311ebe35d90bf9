"""Writes the parameters that the first round starts from: init.safetensors."""

import sys

import numpy as np

import model
from tensors import save_file

if __name__ == "__main__":
    path = sys.argv[1] if len(sys.argv) > 1 else "init.safetensors"
    rows, classes = model.FEATURES, len(model.CLASSES)
    save_file({"coef": np.zeros((classes, rows)), "intercept": np.zeros(classes)}, path)
    print(path)
