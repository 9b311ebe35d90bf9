"""A network with one hidden layer, by hand: parameters as a dict of arrays, scores, and gradients."""

import os

import numpy as np

HIDDEN = 32


def start(rng):
    return {
        "hidden.weight": rng.normal(0, 1, (2, HIDDEN)),
        "hidden.bias": rng.normal(0, 1, HIDDEN),
        "out.weight": rng.normal(0, 0.3, HIDDEN),
        "out.bias": np.zeros(()),
    }


def shard():
    """The rows [n, 2] and labels [n] of this task's file."""
    with np.load(os.environ["CONVOKE_SHARD"]) as file:
        return file["rows"], file["labels"]


def probabilities(parameters, rows):
    """That each row is of class 1 [n], and the hidden layer [n, HIDDEN]."""
    hidden = np.tanh(rows @ parameters["hidden.weight"] * 3 + parameters["hidden.bias"])
    return 1 / (1 + np.exp(-(hidden @ parameters["out.weight"] + parameters["out.bias"]))), hidden


def gradients(parameters, rows, labels):
    """Of the mean cross-entropy, by parameter."""
    probability, hidden = probabilities(parameters, rows)
    score = (probability - labels) / len(labels)
    before = np.outer(score, parameters["out.weight"]) * (1 - hidden**2)
    return {
        "hidden.weight": rows.T @ before * 3,
        "hidden.bias": before.sum(0),
        "out.weight": hidden.T @ score,
        "out.bias": score.sum(),
    }


def measured(parameters, rows, labels):
    """The share of wrong guesses, and the mean cross-entropy."""
    probability, _ = probabilities(parameters, rows)
    right = np.where(labels == 1, probability, 1 - probability)
    return float((right < 0.5).mean()), float(-np.log(right.clip(1e-12)).mean())
