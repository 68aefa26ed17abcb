import numpy as np

from brain_tumor.data.cells import SIDE, UNKNOWN, WHOLE, coverage, coverage_of


def test_coverage_is_the_mean_of_the_mask_in_each_cell(rng):
    mask = ((rng.random((64, 64)) < 0.3) * 255).astype(np.uint8)
    means = mask.reshape(4, SIDE, 4, SIDE).mean(axis=(1, 3)) / 255
    np.testing.assert_allclose(coverage(mask) / WHOLE, means, atol=0.5 / WHOLE + 1 / 255)


def test_a_covered_cell_is_whole_and_never_unknown():
    mask = np.zeros((32, 32), np.uint8)
    mask[:SIDE, SIDE:] = 255
    assert coverage(mask).tolist() == [[0, WHOLE], [0, 0]]


def test_cells_are_known_of_healthy_and_of_outlined_pictures_alone():
    mask = np.full((32, 32), 255, np.uint8)
    cells = coverage_of({2: mask}, np.array([True, False, False]), 32)
    assert (cells[0] == 0).all()
    assert (cells[1] == UNKNOWN).all()
    assert (cells[2] == WHOLE).all()
