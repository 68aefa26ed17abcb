"""On the phantom, where the tumours are known, a trained network's maps find them, and a random one's do not."""

import numpy as np
import pytest
import torch
from torch import nn

from brain_tumor.data.annotations import read_outlines
from brain_tumor.data.images import WHOLE, read_images
from brain_tumor.data.masks import masks_at_model_size
from brain_tumor.data.phantom import write_phantom
from brain_tumor.explanation.gradcam import grad_cam
from brain_tumor.explanation.localization import localization_summary, localization_table

SIZE = 64


def convolution(inputs, outputs, stride):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs), nn.ReLU())


def network():
    """Tumour or none, from pixels; the explained layer has 16 x 16 cells."""
    torch.manual_seed(0)
    trunk = nn.Sequential(convolution(1, 16, 2), convolution(16, 32, 2), convolution(32, 32, 1), convolution(32, 32, 1))
    return trunk, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 2))


def train(trunk, head, pixels, labels, epochs):
    parameters = [*trunk.parameters(), *head.parameters()]
    steps = epochs * -(-len(pixels) // 32)
    optimizer = torch.optim.AdamW(parameters, lr=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(pixels)).split(32):
            loss = nn.functional.cross_entropy(head(trunk(pixels[rows])), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    """Pixels (images, 1, size, size), labels, paths and outlines; the two misplaced files count by their outline."""
    folder = tmp_path_factory.mktemp("phantom")
    write_phantom(folder, seed=3)
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.glob("T*/*/*"))
    outlines = read_outlines(folder)
    images = read_images([folder / path for path in paths], SIZE)
    labels = torch.tensor([path in outlines for path in paths]).long()
    return torch.from_numpy(images)[:, None].float() / 128 - 1, labels, paths, outlines


def scores(trunk, head, phantom):
    """Of the tumours, explained as such, in the images that training did not see."""
    pixels, labels, paths, outlines = phantom
    unseen = [row for row, path in enumerate(paths) if path.startswith("Testing") and labels[row]]
    maps = grad_cam(trunk.eval(), head.eval(), pixels[unseen], labels[unseen]).values
    rows, masks = masks_at_model_size(outlines, [paths[row] for row in unseen], [WHOLE] * len(unseen), SIZE)
    assert len(rows) == len(unseen) > 50
    return localization_summary(localization_table(maps, masks, ["tumour"] * len(rows), np.ones(len(rows), bool), 0))


@pytest.mark.slow
def test_a_trained_network_looks_at_the_tumour_and_a_random_one_does_not(phantom):
    pixels, labels, paths, _ = phantom
    seen = torch.tensor([path.startswith("Training") for path in paths])
    trunk, head = network()
    untrained = scores(trunk, head, phantom)
    trunk.train()
    train(trunk, head.train(), pixels[seen], labels[seen], epochs=25)
    trained = scores(trunk, head, phantom)

    for score in ("pointing", "mass", "iou"):
        best_baseline = max(trained[score]["centred"], trained[score]["shuffled"])
        print(score, trained[score], untrained[score])
        assert trained[score]["model"] > 1.5 * best_baseline
        assert untrained[score]["model"] < 0.5 * trained[score]["model"]
