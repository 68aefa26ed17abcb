import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from brain_tumor.explanation.heat import normalise, upsample


@pytest.mark.parametrize("size", [14, 32, 224])
def test_upsample_agrees_with_torch(rng, size):
    maps = rng.random((3, 14, 14), dtype=np.float32)
    expected = interpolate(torch.from_numpy(maps)[None], size=(size, size), mode="bilinear", align_corners=False)[0]
    np.testing.assert_allclose(upsample(maps, size), expected, atol=1e-5)


def test_normalise_scales_each_map_by_itself(rng):
    maps = rng.random((3, 4, 4), dtype=np.float32) * np.array([1, 100, 0], np.float32)[:, None, None]
    given = maps.copy()
    scaled = normalise(maps)
    np.testing.assert_array_equal(scaled.max(axis=(1, 2)), [1, 1, 0])
    np.testing.assert_allclose(scaled[1] * maps[1].max(), maps[1], rtol=1e-6)
    np.testing.assert_array_equal(maps, given)
    assert scaled.dtype == np.float32
