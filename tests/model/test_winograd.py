"""Convolutions by Winograd's method, against torch's own."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from brain_tumor.model import winograd
from brain_tumor.model.winograd import WinogradConv2d, train_by_winograd

CHANNELS = winograd.FEWEST_CHANNELS


def layers(inputs, outputs, bias=True):
    """torch's layer and ours with the same parameters."""
    plain = nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias, dtype=torch.float64)
    ours = WinogradConv2d(inputs, outputs, 3, padding=1, bias=bias, dtype=torch.float64)
    ours.load_state_dict(plain.state_dict())
    return plain, ours


@pytest.fixture
def calls(monkeypatch):
    """A list that grows with every convolution by Winograd's method."""
    made = []
    apply = winograd._Convolution.apply

    def counted(*arguments):
        made.append(None)
        return apply(*arguments)

    monkeypatch.setattr(winograd._Convolution, "apply", counted)
    return made


@settings(max_examples=40, deadline=None)
@given(
    images=st.integers(1, 3),
    inputs=st.integers(1, 5),
    outputs=st.integers(1, 5),
    height=st.integers(3, 21),
    width=st.integers(3, 21),
    bias=st.booleans(),
    channels_last=st.booleans(),
)
def test_output_and_gradients_are_those_of_torch(images, inputs, outputs, height, width, bias, channels_last):
    torch.manual_seed(0)
    plain, ours = layers(inputs, outputs, bias)
    features = torch.randn(images, inputs, height, width, dtype=torch.float64)
    if channels_last:
        features = features.contiguous(memory_format=torch.channels_last)
    results = []
    for layer in (plain, ours):
        own = features.clone().requires_grad_()
        output = nn.functional.relu(layer(own), inplace=True)
        output.square().sum().backward()
        results.append([output, own.grad, *(parameter.grad for parameter in layer.parameters())])
    for theirs, mine in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


def test_single_precision_loses_little():
    torch.manual_seed(0)
    layer = WinogradConv2d(512, 64, 3, padding=1)
    features = torch.randn(4, 512, 10, 10).relu()
    exact = nn.functional.conv2d(features.double(), layer.weight.double(), layer.bias.double(), padding=1)
    error = (layer(features) - exact).abs().max() / exact.abs().max()
    assert 0 < error < 5e-5  # above 0: it was not torch's own that computed it


def test_frozen_input_and_frozen_weights_have_no_gradient(calls):
    _, layer = layers(2, 2)
    layer.weight.requires_grad_(False)
    layer(torch.ones(1, 2, 8, 8, dtype=torch.float64)).sum().backward()
    assert len(calls) == 1
    assert layer.weight.grad is None
    torch.testing.assert_close(layer.bias.grad, torch.full((2,), 64.0, dtype=torch.float64))


@pytest.mark.parametrize(
    ("layer", "by_winograd"),
    [
        (nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), True),
        (nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False), True),
        (nn.Conv2d(CHANNELS, CHANNELS - 1, 3, padding=1), False),
        (nn.Conv2d(CHANNELS, CHANNELS, 3), False),
        (nn.Conv2d(CHANNELS, CHANNELS, 3, padding="same"), False),
        (nn.Conv2d(CHANNELS, CHANNELS, 1), False),
        (nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, stride=2), False),
        (nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, dilation=2), False),
        (nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=CHANNELS), False),
        (nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, padding_mode="reflect"), False),
    ],
    ids=str,
)
def test_which_layers_are_trained_by_it(layer, by_winograd):
    network = nn.Sequential(layer, nn.ReLU())
    names = list(network.state_dict())
    train_by_winograd(network)
    assert isinstance(network[0], WinogradConv2d) == by_winograd
    assert list(network.state_dict()) == names


def test_torchs_own_where_that_is_better(calls):
    layer = WinogradConv2d(2, 2, 3, padding=1)
    features = torch.zeros(1, 2, 8, 8)
    layer(features[..., :5, :5])
    with torch.autocast("cpu", torch.bfloat16):
        layer(features)
    layer.eval()(features)
    assert not calls
    layer.train()(features)
    assert calls
