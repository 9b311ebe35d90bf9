"""Reads and writes safetensors with NumPy alone: a length, a header in JSON, and the arrays end to end."""

import json

import numpy as np

NAMES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "U8": "|u1", "BOOL": "|b1"}


def load_file(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = file.read()
    header.pop("__metadata__", None)

    def array(dtype, shape, data_offsets):
        return np.frombuffer(data[slice(*data_offsets)], NAMES[dtype]).reshape(shape).copy()

    return {name: array(**place) for name, place in header.items()}


def save_file(tensors, path):
    dtypes = {text: name for name, text in NAMES.items()}
    header, parts, end = {}, [], 0
    for name, tensor in tensors.items():
        parts.append(np.asarray(tensor).tobytes())
        start, end = end, end + len(parts[-1])
        dtype = dtypes[np.asarray(tensor).dtype.newbyteorder("<").str]
        header[name] = {"dtype": dtype, "shape": np.shape(tensor), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + b"".join(parts))
