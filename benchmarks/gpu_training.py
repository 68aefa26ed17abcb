"""How well training the whole network uses a GPU, and where its time goes: `training.py --accelerator gpu`."""

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.profilers import Profiler
from torch.utils.flop_counter import FlopCounterMode

from brain_tumor.data.arrays import Arrays
from brain_tumor.model.features import FeatureCache
from brain_tumor.params import TrainParams
from brain_tumor.training.run import build, fit

GROUPS = {
    "convolutions": ("convolution",),
    "normalisation": ("batch_norm",),
    "pooling": ("pool",),
    "copies": ("copy", "clone", "contiguous", "index", "cat", "fill", "zero"),
    "matrix products": ("mm", "linear"),
}
"""Parts of the names of torch's operators, the first that fits; what fits none is `elementwise, rest`."""


class Epochs(Profiler):
    """Lets the first epoch warm up, times the second, records the third; without their first steps and validation."""

    def __init__(self, steps: int, device: torch.device) -> None:
        """Args: steps of an epoch, two or more, and what trains."""
        super().__init__()
        self.steps, self.device, self.done = steps, device, 0
        self.times: list[float] = []
        self.recorder = torch.profiler.profile()

    def start(self, action_name: str) -> None: ...  # a step begins where the one before ends

    def stop(self, action_name: str) -> None:
        if action_name != "run_training_batch":
            return
        epoch, step = divmod(self.done, self.steps)
        self.done += 1
        if epoch and step in (0, self.steps - 1):
            torch.zeros(1, device=self.device).item()  # waits for a GPU
            self.times.append(time.perf_counter())
            if epoch > 1:
                (self.recorder.stop if step else self.recorder.start)()


def measure(arrays: Arrays, params: TrainParams, seed: int, device: torch.device) -> str:
    """Train all layers for three epochs; images a second, share of the peak, and a table of `shares`, as text."""
    train = TrainParams.model_validate(params.model_dump() | {"weights": "none", "trainable": "all", "epochs": 3})
    batch = min(train.batch_size, len(arrays.train))
    epochs = Epochs(len(arrays.train) // batch, device)
    devices = {"accelerator": device.type.replace("cuda", "gpu"), "devices": 1, "profiler": epochs}
    with tempfile.TemporaryDirectory() as folder:
        fit(arrays, train, seed, FeatureCache(Path(folder), 0), Path(folder), devices)
    seconds = epochs.times[1] - epochs.times[0]
    rate = batch * (epochs.steps - 1) / seconds
    flops, highest = flops_of_an_image(train, arrays), peak(device)
    used = f"{rate * flops / highest:.1%} of the {highest / 1e12:.1f} TFLOP/s of a matrix product"
    table = shares(epochs.recorder.key_averages(), device.type, seconds)
    return "\n".join(
        [f"{train.backbone}, all layers, {train.precision}, {batch} images a batch: {rate:,.0f} images/s"]
        + [f"{flops / 1e9:.1f} GFLOP an image: {used}"]
        + [f"{name:18} {value:6.1%} of a step" for name, value in table.items()]
    )


def flops_of_an_image(params: TrainParams, arrays: Arrays) -> int:
    """Operations of convolutions and matrix products in a step, forward and back, for one image; none is computed."""
    classifier = build(params, arrays, 0, "meta").to("meta")
    pixels = torch.zeros((2, *arrays.train.images.shape[1:]), dtype=torch.uint8, device="meta")
    with FlopCounterMode(display=False) as counter:
        classifier(pixels).sum().backward()
    return int(counter.get_total_flops()) // 2


def peak(device: torch.device, size: int = 8192, products: int = 50) -> float:
    """Operations a second in products of two (size, size) matrices in bfloat16, one behind the other."""
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    result = left @ right
    result[0, 0].item()  # waits for a GPU
    start = time.perf_counter()
    for _ in range(products):
        torch.matmul(left, right, out=result)
    result[0, 0].item()
    return 2 * size**3 * products / (time.perf_counter() - start)


def shares(events: Any, device: str, seconds: float) -> Mapping[str, float]:
    """By `GROUPS`, the share of operators in the seconds that their steps take unrecorded; `idle` is the remainder."""
    times = dict.fromkeys([*GROUPS, "elementwise, rest"], 0.0)
    for event in events:
        # An operator has the time of the kernels that it starts; these are listed once more as events of the device.
        if event.device_type.name == "CPU":
            spent = event.self_cpu_time_total if device == "cpu" else event.self_device_time_total
            fits = [group for group, parts in GROUPS.items() if any(part in event.key.lower() for part in parts)]
            times[[*fits, "elementwise, rest"][0]] += spent / 1e6 / seconds
    return times | {"idle": max(0.0, 1 - sum(times.values()))}
