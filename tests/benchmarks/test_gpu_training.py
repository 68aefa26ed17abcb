"""The benchmark of GPUs on a processor: the same code runs there, but for the clock of kernels."""

import itertools
import os
import re
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from types import SimpleNamespace

import pytest
import torch
from conftest import PROJECT
from torch.autograd import DeviceType

from brain_tumor.data.catalog import CLASSES

# By its path: benchmarks/ holds modules with the names of folders here, so it cannot be where Python looks.
SPEC = spec_from_file_location("gpu_training", PROJECT / "benchmarks" / "gpu_training.py")
gpu_training = module_from_spec(SPEC)
SPEC.loader.exec_module(gpu_training)
flops_of_an_image, measure, peak = gpu_training.flops_of_an_image, gpu_training.measure, gpu_training.peak
GROUPS, shares = gpu_training.GROUPS, gpu_training.shares

CPU = torch.device("cpu")

VGG16 = [64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512, "pool", 512, 512, 512]
"""Configuration D of Simonyan and Zisserman 2015, table 1: 3 by 3 convolutions by their outputs."""


def products_of_vgg16(side):
    """Multiplications of the convolutions of one image, and of the first alone."""
    layers, inputs = [], 3
    for outputs in VGG16:
        if outputs == "pool":
            side //= 2
        else:
            layers.append(9 * inputs * outputs * side**2)
            inputs = outputs
    return sum(layers), layers[0]


@pytest.mark.parametrize("backbone", ["vgg16", "vgg16_bn"])
def test_flops_are_those_of_the_convolutions_forward_and_twice_back(arrays, train_params, backbone):
    params = train_params.model_copy(update={"backbone": backbone, "trainable": "all", "head": "pooled"})
    side = arrays.train.images.shape[1]
    all_layers, first = products_of_vgg16(side)
    linear = 512 * len(CLASSES)

    assert products_of_vgg16(224)[0] == pytest.approx(15.35e9, rel=1e-3)  # as is widely told of VGG16
    # Pixels need no gradient, so the first layer goes back once.
    assert flops_of_an_image(params, arrays) == 2 * (3 * all_layers - first + 3 * linear)


def test_the_peak_is_operations_over_seconds(monkeypatch):
    seconds = itertools.count(10.0, 0.5)
    monkeypatch.setattr(gpu_training.time, "perf_counter", lambda: next(seconds))

    assert peak(CPU, size=16, products=4) == 2 * 16**3 * 4 / 0.5


def event(key, cpu, kernels, kind=DeviceType.CPU):
    return SimpleNamespace(key=key, device_type=kind, self_cpu_time_total=cpu, self_device_time_total=kernels)


def test_time_of_kernels_goes_to_the_operator_that_starts_them_and_the_rest_is_idle():
    events = [
        event("aten::cudnn_convolution", 10, 300_000),
        event("aten::convolution_backward", 10, 200_000),
        event("aten::cudnn_batch_norm_backward", 10, 100_000),
        event("aten::max_pool2d_with_indices", 10, 50_000),
        event("aten::copy_", 10, 30_000),
        event("aten::_fused_adamw_", 10, 20_000),
        event("aten::addmm", 10, 10_000),
        event("aten::threshold_backward", 10, 40_000),
        event("cudaLaunchKernel", 900_000, 0),
        event("sm90_xmma_fprop_implicit_gemm", 0, 300_000, DeviceType.CUDA),
    ]

    found = shares(events, "cuda", seconds=1.0)

    assert found == pytest.approx(
        {
            "convolutions": 0.5,
            "normalisation": 0.1,
            "pooling": 0.05,
            "copies": 0.03,
            "matrix products": 0.01,
            "elementwise, rest": 0.06,
            "idle": 0.25,
        }
    )


def test_operators_of_a_real_profile_are_sorted():
    layers = torch.nn.Sequential(torch.nn.Conv2d(1, 64, 7), torch.nn.BatchNorm2d(64), torch.nn.MaxPool2d(2))
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as recorder:
        layers(torch.zeros(8, 1, 64, 64)).sum().backward()

    found = shares(recorder.key_averages(), "cpu", seconds=1e3)

    assert min(found["convolutions"], found["normalisation"], found["pooling"]) > 0
    assert found["matrix products"] == 0
    assert sum(found.values()) == pytest.approx(1)


@pytest.mark.slow
def test_the_whole_measurement_runs_with_the_projects_training(arrays, train_params, monkeypatch):
    monkeypatch.setattr(gpu_training, "peak", lambda _: 1e10)
    params = train_params.model_copy(update={"backbone": "resnet18", "head": "pooled", "batch_size": 16})

    first, second, *table = measure(arrays, params, 0, CPU).splitlines()

    rate = re.fullmatch(r"resnet18, all layers, fp32, 16 images a batch: ([\d,]+) images/s", first)[1]
    flops, used = re.fullmatch(r"([\d.]+) GFLOP an image: ([\d.]+)% of the 0.0 TFLOP/s .*", second).groups()
    assert float(used) == pytest.approx(100 * float(rate.replace(",", "")) * float(flops) / 10, rel=0.2, abs=5)
    assert [line.split("  ")[0].strip() for line in table] == [*GROUPS, "elementwise, rest", "idle"]
    assert float(table[0].split()[1].rstrip("%")) > 0  # convolutions


def test_without_a_gpu_it_says_so_in_one_line():
    command = [sys.executable, "benchmarks/training.py", "--accelerator", "gpu"]
    variables = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    ended = subprocess.run(command, cwd=PROJECT, env=variables, capture_output=True, text=True, check=False)

    assert ended.returncode == 2
    assert ended.stderr == "error: --accelerator gpu: torch finds no GPU on this machine\n"
