"""Trains the round's parameters on one shard, for one epoch of mini-batches."""

import json
import os

import torch
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy

import model

EPOCHS = 1
BATCH = 25

if __name__ == "__main__":
    model.repeatable(int(os.environ["CONVOKE_SEED"]))
    network, (images, labels) = model.base(), model.shard()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    loss_sum = wrong = seen = 0
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(labels)).split(BATCH):
            scores = network(images[rows])
            loss = cross_entropy(scores, labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss_sum += loss.item() * len(rows)
            wrong += (scores.argmax(1) != labels[rows]).sum().item()
            seen += len(rows)
    save_file(network.state_dict(), os.environ["CONVOKE_RESULT"])
    # `samples` is this result's weight in the merge; the rest is for you to see.
    print(json.dumps({"samples": len(labels), "train_error": wrong / seen, "loss": loss_sum / seen}))
