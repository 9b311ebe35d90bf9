"""The letters job as a simulation of Flower's: 11 clients, R rounds, each of E full-batch training epochs with a step of eta on
the summed cross-entropy, then the mean of the parameters. NumPy does the arithmetic, so that no process has to load more.

usage: flower_letters.py DATA_DIR [--rounds 3 --epochs 75 --hidden 24 --eta 1e-4]
Prints the validation error; how long it takes is for whoever starts it.
"""
import argparse, glob, os, re

os.environ.setdefault("RAY_DISABLE_DOCKER_CPU_WARNING", "1")
os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Both cores have a client's process each.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

FEATURES, CLASSES = 16, 26


def load(path):
    table = np.loadtxt(path, delimiter=",", dtype=np.float32)
    return table[:, :-1], table[:, -1].astype(np.int64)


def forward(w, x):
    hidden = np.maximum(x @ w[0] + w[1], 0)
    return hidden, hidden @ w[2] + w[3]


def train(w, x, y, epochs, eta):
    w = [p.copy() for p in w]
    rows = np.arange(len(y))
    for _ in range(epochs):
        hidden, logits = forward(w, x)
        logits -= logits.max(axis=1, keepdims=True)
        error = np.exp(logits)
        error /= error.sum(axis=1, keepdims=True)
        error[rows, y] -= 1
        back = (error @ w[2].T) * (hidden > 0)
        gradient = [x.T @ back, back.sum(axis=0), hidden.T @ error, error.sum(axis=0)]
        w = [p - np.float32(eta) * g for p, g in zip(w, gradient)]
    return w


def main():
    a = argparse.ArgumentParser()
    a.add_argument("data")
    for name, kind, default in [("rounds", int, 3), ("epochs", int, 75), ("hidden", int, 24), ("eta", float, 1e-4)]:
        a.add_argument(f"--{name}", type=kind, default=default)
    o = a.parse_args()
    files = glob.glob(os.path.join(os.path.abspath(o.data), "train_*.txt"))
    files.sort(key=lambda f: int(re.findall(r"(\d+)\.txt", f)[0]))

    client, server = ClientApp(), ServerApp()
    epochs, eta, rounds = o.epochs, o.eta, o.rounds

    @client.train()
    def fit(message, context):
        x, y = load(files[int(context.node_config["partition-id"])])
        w = train(message.content["arrays"].to_numpy_ndarrays(), x, y, epochs, eta)
        content = {"arrays": ArrayRecord(w), "metrics": MetricRecord({"num-examples": len(y)})}
        return Message(content=RecordDict(content), reply_to=message)

    learned = []

    @server.main()
    def serve(grid, context):
        rng = np.random.default_rng(0)
        shapes = [(FEATURES, o.hidden), (o.hidden,), (o.hidden, CLASSES), (CLASSES,)]
        start = [rng.random(shape, dtype=np.float32) * np.float32(0.02) - np.float32(0.01) for shape in shapes]
        strategy = FedAvg(fraction_train=1.0, fraction_evaluate=0.0, min_train_nodes=len(files),
                          min_available_nodes=len(files))
        result = strategy.start(grid=grid, initial_arrays=ArrayRecord(start), num_rounds=rounds)
        learned.extend(result.arrays.to_numpy_ndarrays())

    run_simulation(server_app=server, client_app=client, num_supernodes=len(files),
                   backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}})
    x, y = load(os.path.join(o.data, "validate_letters.txt"))
    error = float((forward(learned, x)[1].argmax(axis=1) != y).mean())
    print(f"rounds={rounds} validation_error={error:.4f}", flush=True)


if __name__ == "__main__":
    main()
