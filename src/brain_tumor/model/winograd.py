"""Convolutions of 3 by 3 pixels with fewer multiplications, for training on a processor.

Each tile of 4 by 4 outputs comes from 6 by 6 inputs with 36 multiplications for a pair of channels, where the sum over
the kernel takes 144. Forward pass, gradient of the input and gradient of the kernel all have that form. What torch
calls on a processor, oneDNN, computes them as sums over the kernel.

Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016, F(4x4, 3x3) of section 4.3.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

OUTPUT, INPUT, KERNEL = 4, 6, 3
"""Side of a tile of outputs, of the tile of inputs that it comes from, and of the kernel."""

FEWEST_CHANNELS = 128
"""With 64, cutting into tiles and putting together takes longer than is won (benchmarks/README.md)."""

MOST_PADDING = 2
"""Up to how many outputs are computed for each that is wanted, where tiles reach beyond the edges."""

_INPUTS = torch.tensor(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    dtype=torch.float64,
)
_KERNELS = torch.tensor(
    [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], dtype=torch.float64
).div(24)
_OUTPUTS = torch.tensor(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], dtype=torch.float64
)


class WinogradConv2d(nn.Conv2d):
    """A convolution of 3 by 3 pixels, stride 1 and padding 1, that is trained faster on a processor.

    It has the parameters, the state dictionary and, but for rounding, the output of its base class. It is that class
    in evaluation mode, on other devices, in bfloat16 (for which processors have instructions that win more), and for
    maps so small that most of each tile lies beyond them.
    """

    def forward(self, features: Tensor) -> Tensor:
        if not self.training or features.device.type != "cpu" or torch.is_autocast_enabled("cpu") or _small(features):
            return super().forward(features)
        result: Tensor = _Convolution.apply(features, self.weight, self.bias)
        return result


def train_by_winograd(network: nn.Module) -> None:
    """Train the convolutions that win by it as `WinogradConv2d`, in place; nothing else of `network` changes."""
    for module in network.modules():
        if type(module) is nn.Conv2d and _fits(module):
            module.__class__ = WinogradConv2d


def _fits(layer: nn.Conv2d) -> bool:
    wide = min(layer.in_channels, layer.out_channels) >= FEWEST_CHANNELS
    plain = layer.stride == layer.dilation == (1, 1) and layer.groups == 1 and layer.padding_mode == "zeros"
    return wide and plain and layer.kernel_size == (KERNEL, KERNEL) and layer.padding == (1, 1)


def _small(features: Tensor) -> bool:
    height, width = features.shape[-2:]
    return _tiles(height) * _tiles(width) * OUTPUT**2 > MOST_PADDING * height * width


def _tiles(length: int) -> int:
    return -(-length // OUTPUT)


class _Convolution(torch.autograd.Function):
    """Of features (images, channels, height, width), as fast as can be with channels last in memory.

    Within, channels come last, and first the 36 places of a tile of inputs, in whose transformed form a convolution is
    a product of 36 matrices: (tiles, channels) with (channels, outputs).
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        images, channels, height, width = features.shape
        rows, columns = _tiles(height), _tiles(width)
        below, right = OUTPUT * rows - height, OUTPUT * columns - width
        padded = functional.pad(features.permute(0, 2, 3, 1), (0, 0, 1, 1 + right, 1, 1 + below))
        inputs = _transform(_INPUTS, _overlapping(padded)).view(INPUT**2, -1, channels)
        kernels = _transform(_KERNELS, weight.permute(2, 3, 1, 0)).view(INPUT**2, channels, -1)
        products = torch.bmm(inputs, kernels).view(INPUT, INPUT, -1)
        tiles = _transform(_OUTPUTS, products).view(OUTPUT, OUTPUT, images, rows, columns, -1)
        whole = tiles.permute(2, 3, 0, 4, 1, 5).reshape(images, OUTPUT * rows, OUTPUT * columns, -1)
        # A tensor of its own: a view could not be changed in place by the activation that follows.
        shape = (images, len(weight), height, width)
        result = torch.empty(shape, dtype=features.dtype, memory_format=torch.channels_last)
        torch.add(whole[:, :height, :width], 0 if bias is None else bias, out=result.permute(0, 2, 3, 1))
        ctx.save_for_backward(inputs, kernels)
        ctx.shape = (images, height, width)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        gradient = gradients[0]
        inputs, kernels = ctx.saved_tensors
        images, height, width = ctx.shape
        rows, columns = _tiles(height), _tiles(width)
        below, right = OUTPUT * rows - height, OUTPUT * columns - width
        padded = functional.pad(gradient.permute(0, 2, 3, 1), (0, 0, 0, right, 0, below))
        tiles = padded.view(images, rows, OUTPUT, columns, OUTPUT, -1).permute(2, 4, 0, 1, 3, 5)
        products = _transform(_OUTPUTS.T, tiles).view(INPUT**2, inputs.shape[1], -1)
        of_features = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            overlapping = _transform(_INPUTS.T, torch.bmm(products, kernels.mT).view(INPUT, INPUT, -1))
            shape = (INPUT, INPUT, images, rows, columns, -1)
            of_features = _add_overlapping(overlapping.view(shape))[:, 1 : height + 1, 1 : width + 1]
            of_features = of_features.permute(0, 3, 1, 2)
        if ctx.needs_input_grad[1]:
            transformed = torch.bmm(inputs.mT, products)
            of_weight = _transform(_KERNELS.T, transformed.view(INPUT, INPUT, -1))
            of_weight = of_weight.view(KERNEL, KERNEL, *transformed.shape[1:]).permute(3, 2, 0, 1)
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum((0, 2, 3))
        return of_features, of_weight, of_bias


def _transform(matrix: Tensor, tiles: Tensor) -> Tensor:
    """`matrix @ tile @ matrix.T` for tiles (side, side, …), as (sides of the result, everything else)."""
    both = torch.kron(matrix, matrix).to(tiles.dtype)
    return both @ tiles.reshape(both.shape[1], -1)


def _overlapping(padded: Tensor) -> Tensor:
    """A view of (images, height, width, channels) as tiles of inputs (6, 6, images, rows, columns, channels)."""
    return padded.unfold(1, INPUT, OUTPUT).unfold(2, INPUT, OUTPUT).permute(4, 5, 0, 1, 2, 3)


def _add_overlapping(tiles: Tensor) -> Tensor:
    """The transpose of `_overlapping`: what tiles say of the same place is added."""
    _, _, images, rows, columns, channels = tiles.shape
    border = INPUT - OUTPUT
    padded = tiles.new_zeros(images, OUTPUT * rows + border, OUTPUT * columns + border, channels)
    places = _overlapping(padded)
    for row in range(INPUT):  # one after the other: within one, tiles do not overlap
        for column in range(INPUT):
            places[row, column] += tiles[row, column]
    return padded
