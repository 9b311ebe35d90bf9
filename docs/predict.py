"""Predicts with a Convoke model in NumPy alone: python3 predict.py MODEL ROWS.csv"""
import json
import sys

import numpy as np

model = open(sys.argv[1], "rb").read()
data = 8 + int.from_bytes(model[:8], "little")  # safetensors: the header's length, the header, the tensors
header = json.loads(model[8:data])
about = header.pop("__metadata__")
tensors = {name: np.frombuffer(model[data + place["data_offsets"][0] : data + place["data_offsets"][1]], "<f4")
           .reshape(place["shape"]) for name, place in header.items()}
inputs, layers = tensors["layers.0.weight"].shape[0], about["layers"].count(",")
activation = np.tanh if about.get("activation") == "tanh" else lambda x: np.maximum(x, 0)
x = np.loadtxt(sys.argv[2], dtype="f4", delimiter=",", usecols=range(inputs), ndmin=2)
x = (x - tensors.get("features.mean", 0)) / tensors.get("features.scale", 1)
for layer in range(layers):
    x = (activation(x) if layer else x) @ tensors[f"layers.{layer}.weight"] + tensors[f"layers.{layer}.bias"]
if about.get("task") == "regression":
    print("\n".join(map(str, x[:, 0] * tensors.get("target.scale", 1) + tensors.get("target.mean", 0))))
else:
    print("\n".join(np.array(json.loads(about["labels"]))[x.argmax(axis=1)]))
