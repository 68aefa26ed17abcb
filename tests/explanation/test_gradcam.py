import numpy as np
import pytest
import torch
from pytorch_grad_cam import GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

from brain_tumor.explanation.gradcam import METHODS, grad_cam
from brain_tumor.explanation.heat import normalise

CHANNELS, SIDE, CLASSES = 6, 5, 4


def network(*, pooled):
    """A trunk with in-place ReLUs and a head, frozen, in evaluation mode."""
    torch.manual_seed(3)
    trunk = [nn.Conv2d(3, CHANNELS, 3, padding=1), nn.ReLU(inplace=True)]
    trunk += [nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.ReLU(inplace=True)]
    if pooled:
        head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(CHANNELS, CLASSES)]
    else:
        head = [nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(CHANNELS * SIDE**2, 16), nn.ReLU(inplace=True)]
        head += [nn.Linear(16, CLASSES)]
    return tuple(nn.Sequential(*layers).requires_grad_(False).eval() for layers in (trunk, head))


@pytest.fixture
def features():
    return torch.randn(8, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(5))


@pytest.fixture
def targets():
    return torch.arange(8) % CLASSES


ORACLES = {"gradcam": GradCAM, "gradcam++": GradCAMPlusPlus, "hirescam": HiResCAM, "layercam": LayerCAM}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("pooled", [True, False])
def test_every_method_agrees_with_another_implementation(features, targets, name, pooled):
    trunk, head = network(pooled=pooled)
    with torch.no_grad():
        head[-1].weight *= 1000  # the other Grad-CAM++ adds a small number below the fraction, which then is nothing
    same = nn.AdaptiveAvgPool2d(SIDE)  # keeps all values, so that the head's in-place ReLU leaves the record alone
    oracle = ORACLES[name](nn.Sequential(trunk, same, head), [trunk])
    oracle(features.clone().requires_grad_(), [ClassifierOutputTarget(int(target)) for target in targets])
    recorded = oracle.activations_and_grads
    activations, gradients = recorded.activations[0].numpy(), recorded.gradients[0].numpy()
    expected = oracle.get_cam_image(features, trunk, targets, activations, gradients, False)

    maps = grad_cam(trunk, head, features, targets, name)

    np.testing.assert_allclose(maps, np.maximum(expected, 0), rtol=1e-3, atol=1e-3)
    assert maps.max() > 1


def test_of_average_pooling_and_one_linear_layer_it_is_cam(features, targets):
    trunk, head = network(pooled=True)
    head[-1].weight[:2].abs_()
    cam = torch.einsum("nc,nchw->nhw", head[-1].weight[targets], trunk(features)) / SIDE**2

    maps = grad_cam(trunk, head, features, targets)

    np.testing.assert_allclose(maps, cam.relu(), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(grad_cam(trunk, head, features, targets, "hirescam"), maps, rtol=1e-4, atol=1e-7)
    positive = targets < 2  # nothing speaks against these classes, so that maps sum to the logit without bias
    logits = head(trunk(features))[torch.arange(8), targets] - head[-1].bias[targets]
    np.testing.assert_allclose(maps[positive].sum(axis=(1, 2)), logits[positive], rtol=1e-4)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("identity", [True, False])
def test_works_whether_gradients_are_recorded_or_not(features, targets, context, identity):
    trunk, head = network(pooled=False)
    outside = trunk(features)
    expected = grad_cam(trunk, head, features, targets)
    with context():
        # With every layer frozen, what is cached is the explained layer's own output.
        before, given = (nn.Identity(), outside + 0) if identity else (trunk, features)
        maps = grad_cam(before, head, given, targets)
        assert torch.is_grad_enabled() == (context is torch.enable_grad)
    np.testing.assert_allclose(maps, expected, rtol=1e-5, atol=1e-7)


def test_leaves_input_parameters_and_gradients_alone(features, targets):
    trunk, head = network(pooled=False)
    for parameter in head.parameters():
        parameter.requires_grad_()
    given, weights = features.clone(), head[2].weight.clone()
    grad_cam(trunk, head, features, targets)
    assert torch.equal(features, given)
    assert torch.equal(head[2].weight, weights)
    assert not features.requires_grad
    assert all(parameter.grad is None for parameter in head.parameters())


def test_images_of_a_batch_do_not_explain_one_another(features, targets):
    trunk, head = network(pooled=False)
    whole = grad_cam(trunk, head, features, targets)
    for row in range(len(features)):
        alone = grad_cam(trunk, head, features[row : row + 1], targets[row : row + 1])
        np.testing.assert_allclose(alone[0], whole[row], rtol=1e-4, atol=1e-6)


def test_a_class_that_nothing_speaks_for_has_a_map_of_zeros(features):
    trunk, head = network(pooled=True)
    head[-1].weight[2] = -1
    maps = grad_cam(trunk, head, features, torch.full((8,), 2))
    assert not maps.any()
    assert not normalise(maps).any()


def test_half_precision_gives_float32_maps(features, targets):
    trunk, head = network(pooled=True)
    with torch.autocast("cpu", torch.bfloat16):
        maps = grad_cam(trunk, head, features, targets)
    assert maps.dtype == np.float32
    np.testing.assert_allclose(maps, grad_cam(trunk, head, features, targets), atol=0.02)


@pytest.mark.parametrize(
    "wrong", [torch.zeros(7).long(), torch.full((8,), CLASSES), -torch.ones(8).long(), torch.zeros(8, 1).long()]
)
def test_refuses_targets_that_do_not_fit(features, wrong):
    with pytest.raises(ValueError, match="targets"):
        grad_cam(*network(pooled=True), features, wrong)


def test_refuses_logits_that_are_no_table(features, targets):
    with pytest.raises(ValueError, match="logits"):
        grad_cam(network(pooled=True)[0], nn.Identity(), features, targets)
