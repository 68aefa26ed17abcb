"""Batch normalisation over the batch of all processes."""

from typing import Any

import torch
from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from torch import Tensor, distributed, nn


class SharedBatchNorm(TorchSyncBatchNorm):
    """Lightning's plugin for several processes; torch's own layer knows GPUs only, on a CPU ours computes."""

    def apply(self, model: nn.Module) -> nn.Module:
        model = super().apply(model)
        if next(model.parameters()).device.type == "cpu":
            for module in model.modules():
                if isinstance(module, nn.SyncBatchNorm):
                    module.__class__ = _CpuSyncBatchNorm  # converted by torch and reverted by Lightning as its own
        return model


class _CpuSyncBatchNorm(nn.SyncBatchNorm):
    """Every process must hold as many images as the others."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            evaluated: Tensor = super().forward(input)
            return evaluated
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
