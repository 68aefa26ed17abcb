import copy

import pytest
import torch
from timm.layers import Conv2dSame
from torch import nn

from brain_tumor.model.precision import autocast, resolve, train_depthwise_in_fp32


@pytest.mark.parametrize(
    ("device", "instructions", "on_gpu", "expected"),
    [
        ("cpu", {"amx_bf16": True, "avx512_bf16": True}, False, "bf16"),
        ("cpu", {"amx_bf16": False, "avx512_bf16": True}, False, "bf16"),
        ("cpu", {"amx_bf16": False, "avx512_bf16": False, "avx512_f": True}, True, "fp32"),
        ("cpu", {}, True, "fp32"),
        ("cuda", {}, True, "bf16"),
        ("cuda", {"amx_bf16": True}, False, "fp32"),
        ("mps", {"amx_bf16": True}, True, "fp32"),
    ],
)
def test_auto_is_bfloat16_where_the_device_has_instructions_for_it(monkeypatch, device, instructions, on_gpu, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation or on_gpu)

    assert resolve("auto", device) == expected
    for asked in ("bf16", "fp32"):
        assert resolve(asked, device) == asked


@pytest.mark.parametrize("kind", [nn.Conv2d, Conv2dSame])
def test_depthwise_convolutions_train_in_single_precision_and_are_the_same_otherwise(kind):
    torch.manual_seed(0)
    plain = nn.Sequential(kind(6, 8, 1), kind(8, 8, 3, stride=2, groups=8))
    changed = copy.deepcopy(plain)
    train_depthwise_in_fp32(changed)
    features = torch.randn(2, 6, 9, 9)

    with autocast("bf16"):
        evaluated = [network.eval()(features) for network in (plain, changed)]
        trained = changed.train()(features)
    trained.square().sum().backward()
    expected = plain.train()(features)
    expected.square().sum().backward()

    assert torch.equal(*evaluated)
    assert (evaluated[1].dtype, trained.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(trained, expected, rtol=0.05, atol=0.02)
    gradient, other = changed[1].weight.grad, plain[1].weight.grad
    assert ((gradient - other).norm() / other.norm()) < 0.01
    assert changed.state_dict().keys() == plain.state_dict().keys()
