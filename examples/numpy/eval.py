"""Measures the round's parameters on one file of validation data."""

import json
import os

import model
from tensors import load_file

if __name__ == "__main__":
    rows, labels = model.shard()
    error, loss = model.measured(load_file(os.environ["CONVOKE_BASE"]), rows, labels)
    print(json.dumps({"samples": len(labels), "error": error, "loss": loss}))
