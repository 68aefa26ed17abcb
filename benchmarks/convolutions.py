"""What Winograd's method wins in training: forward and backward pass of VGG16's convolutions, in milliseconds an image.

    python benchmarks/convolutions.py

Each layer with its maps of a picture of 160 pixels, batches of 32, in single precision; torch's own and ours in turn,
and the median of the rounds. The error is the largest of output and gradients, as a share of the largest value.
Writes benchmarks/convolutions.csv.
"""

import argparse
import statistics
import time
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from brain_tumor.files import atomic_file
from brain_tumor.model.winograd import WinogradConv2d

RESULT = Path(__file__).with_suffix(".csv")
BATCH = 32
LAYERS = ((64, 64, 80), (128, 128, 80), (128, 256, 40), (256, 256, 40), (256, 512, 20), (512, 512, 20), (512, 512, 10))
"""Channels before and behind, and the side of the map."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.manual_seed(0)
    table = pd.DataFrame([row_of(*layer, rounds) for layer in LAYERS]).assign(threads=torch.get_num_threads())
    print(table.to_string(index=False))
    with atomic_file(RESULT) as temporary:
        table.to_csv(temporary, index=False, float_format="%.3g")


def row_of(inputs: int, outputs: int, side: int, rounds: int) -> dict[str, float]:
    """A layer's times and error."""
    layers = {
        "direct": nn.Conv2d(inputs, outputs, 3, padding=1),
        "winograd": WinogradConv2d(inputs, outputs, 3, padding=1),
    }
    layers["winograd"].load_state_dict(layers["direct"].state_dict())
    features = torch.randn(BATCH, inputs, side, side).relu().contiguous(memory_format=torch.channels_last)
    gradient = torch.randn(BATCH, outputs, side, side).contiguous(memory_format=torch.channels_last)
    results: dict[str, list[Tensor]] = {}
    seconds: dict[str, list[float]] = {name: [] for name in layers}
    for _ in range(rounds + 1):  # the first is cold
        for name, layer in layers.items():
            layer.to(memory_format=torch.channels_last)
            start = time.perf_counter()
            results[name] = passes(layer, features, gradient)
            seconds[name].append(time.perf_counter() - start)
    times = {name: 1000 * statistics.median(values[1:]) / BATCH for name, values in seconds.items()}
    error = max(
        float((mine - theirs).abs().max() / theirs.abs().max())
        for mine, theirs in zip(results["winograd"], results["direct"], strict=True)
    )
    shape = {"inputs": inputs, "outputs": outputs, "side": side}
    return shape | times | {"faster": times["direct"] / times["winograd"], "error": error}


def passes(layer: nn.Module, features: Tensor, gradient: Tensor) -> list[Tensor]:
    """Output of a layer, and the gradients of its input and parameters."""
    own = features.clone().requires_grad_()
    output = layer(own)
    return [output.detach(), *torch.autograd.grad(output, [own, *layer.parameters()], gradient)]


if __name__ == "__main__":
    main()
