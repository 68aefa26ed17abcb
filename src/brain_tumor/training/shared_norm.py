"""Batch normalisation over the batch of all processes."""

from typing import Any

import torch
from lightning.pytorch.plugins.layer_sync import LayerSync
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm


class SharedBatchNorm(LayerSync):
    """Lightning's plugin for several processes: statistics over the batch of all of them.

    torch's own layer knows GPUs only, and drops the activation that timm's normalisation carries.
    """

    def __init__(self) -> None:
        self._changed: list[tuple[nn.Module, type[nn.Module]]] = []

    def apply(self, model: nn.Module) -> nn.Module:
        """Let every batch normalisation of the model compute as `_SharedNorm`, with its own parameters."""
        self._changed = [(module, type(module)) for module in model.modules() if isinstance(module, _BatchNorm)]
        for module, _ in self._changed:
            module.__class__ = _SharedNorm
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        """Make them what they were."""
        for module, original in self._changed:
            module.__class__ = original
        return model


class _SharedNorm(_BatchNorm):
    """Every process must hold as many images as the others."""

    def forward(self, input: Tensor) -> Tensor:
        result = self._normalise(input) if self.training else super().forward(input)
        for name in ("drop", "act"):  # of timm's BatchNormAct2d
            if hasattr(self, name):
                result = getattr(self, name)(result)
        return result

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions."""

    def _normalise(self, input: Tensor) -> Tensor:
        values = input.float()
        dims = [0, *range(2, values.ndim)]
        shape = [1, -1, *[1] * (values.ndim - 2)]
        processes = distributed.get_world_size()
        mean = _Sum.apply(values.mean(dims)) / processes
        centred = values - mean.view(shape)
        variance = _Sum.apply(centred.square().mean(dims)) / processes
        self._remember(mean.detach(), variance.detach(), processes * values.numel() // values.shape[1])
        normalised = centred * (variance + self.eps).rsqrt().view(shape)
        result: Tensor = normalised * self.weight.view(shape) + self.bias.view(shape)
        return result.to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Move the running statistics, as `nn.BatchNorm2d` does: with the unbiased variance."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            raise TypeError("batch normalisation without running statistics")
        self.num_batches_tracked += 1
        rate = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, rate)
        self.running_var.lerp_(variance * count / (count - 1), rate)


class _Sum(torch.autograd.Function):
    """Sum over processes; so is its gradient."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:  # noqa: ARG004
        total = value.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004
        total = gradient.clone()
        distributed.all_reduce(total)
        return total
