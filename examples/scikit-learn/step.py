"""Trains the round's parameters on one shard: one pass of stochastic gradient descent."""

import os

# Sums in one order: the same bits whatever else the machine does. To be set before NumPy is there.
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"

import json

import model
from tensors import load_file, save_file

if __name__ == "__main__":
    classifier = model.classifier(load_file(os.environ["CONVOKE_BASE"]), int(os.environ["CONVOKE_SEED"]))
    rows, labels = model.shard()
    classifier.partial_fit(rows, labels, classes=model.CLASSES)
    save_file({"coef": classifier.coef_, "intercept": classifier.intercept_}, os.environ["CONVOKE_RESULT"])
    # `samples` is this result's weight in the merge; the rest is for you to see.
    print(json.dumps({"samples": len(labels), "train_error": 1 - classifier.score(rows, labels)}))
