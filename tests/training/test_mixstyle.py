import pytest
import torch
from torch.nn.functional import instance_norm

from brain_tumor.training.mixstyle import mixstyle_features


@pytest.fixture
def features():
    generator = torch.Generator().manual_seed(3)
    scale = torch.rand(6, 4, 1, 1, generator=generator) * 5 + 0.5
    return torch.randn(6, 4, 7, 7, generator=generator) * scale + 3 * scale


def mixed(features, seed):
    torch.manual_seed(seed)
    return mixstyle_features(features)


def test_what_is_where_stays(features):
    torch.testing.assert_close(instance_norm(mixed(features, 0)), instance_norm(features), rtol=1e-3, atol=1e-3)


def test_a_style_lies_between_its_own_and_that_of_one_other_image(features):
    results = mixed(features, 1)

    for own, result in zip(features.mean((2, 3)), results.mean((2, 3)), strict=True):
        shares = [
            (result - other) / (own - other) for other in features.mean((2, 3)) if not torch.equal(own, other)
        ]  # per channel the share of its own style, the same for all channels if `other` is the partner
        spread = min(float(share.max() - share.min()) for share in shares)
        assert spread < 1e-2 or torch.allclose(result, own, rtol=1e-4)


def test_mixes_differ_from_draw_to_draw_and_from_the_original(features):
    first, again, other = mixed(features, 1), mixed(features, 1), mixed(features, 2)

    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    assert not torch.allclose(first, features)


def test_one_image_alone_and_an_even_one_stay_as_they_are(features):
    torch.testing.assert_close(mixed(features[:1], 0), features[:1])
    even = torch.full((1, 2, 3, 3), 4.0)
    torch.testing.assert_close(mixed(even, 0), even)
