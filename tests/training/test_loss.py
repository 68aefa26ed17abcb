import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from brain_tumor.data.arrays import UNKNOWN_TUMOUR
from brain_tumor.data.catalog import CLASSES
from brain_tumor.training.loss import PartialLabelLoss, balanced_weights, cell_loss, hits


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 0.5))
def test_where_all_classes_are_known_it_is_the_weighted_cross_entropy(seed, smoothing):
    torch.manual_seed(seed)
    logits, labels, weights = torch.randn(9, 4), torch.randint(0, 4, (9,)), torch.rand(4) + 0.1

    loss = PartialLabelLoss(weights, smoothing)(logits, labels)

    expected = functional.cross_entropy(logits, labels, weights, reduction="sum", label_smoothing=smoothing)
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)


def test_a_tumour_of_unknown_type_costs_the_negative_log_of_the_summed_tumour_probabilities():
    shares = torch.tensor([[0.1, 0.2, 0.4, 0.3], [0.0001, 0.9, 0.0009, 0.099]])
    labels = torch.full((2,), UNKNOWN_TUMOUR)

    loss = PartialLabelLoss(torch.ones(4), 0.0)(shares.log(), labels)

    assert float(loss) == pytest.approx(
        -float(torch.log(torch.tensor(0.6)) + torch.log(torch.tensor(0.9991))), rel=1e-4
    )


def test_known_and_unknown_add_up():
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 4), torch.tensor([0, UNKNOWN_TUMOUR, 2, UNKNOWN_TUMOUR, 3, 1])
    loss = PartialLabelLoss(torch.tensor([1.0, 2.0, 0.5, 1.0]), 0.1)
    known = labels != UNKNOWN_TUMOUR

    assert torch.allclose(
        loss(logits, labels), loss(logits[known], labels[known]) + loss(logits[~known], labels[~known])
    )


def test_an_unknown_type_moves_probability_to_tumours_in_their_own_proportion():
    logits = torch.tensor([[2.0, 1.0, 3.0, 0.0]], requires_grad=True)

    PartialLabelLoss(torch.ones(4), 0.0)(logits, torch.tensor([UNKNOWN_TUMOUR])).backward()

    pull = -logits.grad[0]
    assert pull[2] < 0
    tumours = pull[[0, 1, 3]]
    expected = torch.softmax(torch.tensor([2.0, 1.0, 0.0]), dim=0)
    assert torch.allclose(tumours / tumours.sum(), expected)


def test_any_tumour_hits_an_unknown_one():
    logits = torch.eye(4)[[0, 2, 2, 3, 1]]
    labels = torch.tensor([UNKNOWN_TUMOUR, UNKNOWN_TUMOUR, 2, 1, 1])

    assert hits(logits, labels).tolist() == [True, False, True, False, True]


def test_balanced_weights_give_every_class_the_same_sum_and_leave_out_unknown_types():
    labels = torch.tensor([0] * 6 + [1] * 3 + [2] * 2 + [3] + [UNKNOWN_TUMOUR] * 50)

    weights = balanced_weights(labels)

    assert (weights * torch.tensor([6, 3, 2, 1])).tolist() == pytest.approx([12 / len(CLASSES)] * 4)


def cells_by_hand(cells, coverage, labels):
    """The definition, a cell at a time."""
    total = weights = 0.0
    for image, label in enumerate(labels):
        if (coverage[image] == 255).any():
            continue
        for row, column in np.ndindex(*coverage.shape[1:]):
            shares = np.exp(cells[image, :, row, column])
            shares /= shares.sum()
            covered, most = coverage[image, row, column] / 254, coverage[image].max() / 254
            healthy = CLASSES.index("notumor")
            if covered > 0.5 or 0.1 <= covered == most:
                total -= 3 * np.log(1 - shares[healthy] if label == UNKNOWN_TUMOUR else shares[label])
                weights += 3
            elif covered < 0.1:
                total -= np.log(shares[healthy])
                weights += 1
    return total / weights


def test_cell_loss_is_that_of_the_definition(rng):
    cells = rng.normal(size=(5, 4, 3, 3))
    coverage = rng.choice([0, 10, 60, 140, 254], size=(5, 3, 3)).astype(np.uint8)
    coverage[1] = [[0, 60, 70], [0, 50, 20], [0, 0, 0]]  # a small tumour across cells
    coverage[3] = 255
    labels = np.array([0, 1, 2, 3, UNKNOWN_TUMOUR])
    coverage[2] = 0
    loss = cell_loss(torch.tensor(cells), torch.tensor(coverage), torch.tensor(labels))
    assert loss.item() == pytest.approx(cells_by_hand(cells, coverage, labels), rel=1e-5)


def test_finer_coverage_is_averaged_and_without_known_cells_there_is_no_loss(rng):
    cells = torch.tensor(rng.normal(size=(2, 4, 2, 2)), requires_grad=True)
    fine = torch.tensor(rng.choice([0, 254], size=(2, 4, 4)).astype(np.uint8))
    coarse = (fine.float().reshape(2, 2, 2, 2, 2).mean(dim=(2, 4))).round().to(torch.uint8)
    labels = torch.tensor([0, 3])
    assert cell_loss(cells, fine, labels).item() == pytest.approx(cell_loss(cells, coarse, labels).item())
    nothing = cell_loss(cells, torch.full((2, 4, 4), 255, dtype=torch.uint8), labels)
    nothing.backward()
    assert nothing.item() == 0
    assert not cells.grad.any()
