"""Writes the parameters that the first round starts from: init.safetensors."""

import sys

from safetensors.torch import save_file

import model

if __name__ == "__main__":
    model.repeatable(seed=1)
    path = sys.argv[1] if len(sys.argv) > 1 else "init.safetensors"
    save_file(model.network().state_dict(), path)
    print(path)
