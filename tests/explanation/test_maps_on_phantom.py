"""Where the tumours are known, a trained network's maps find them, and a random one's do not.

Each slice is drawn twice, with a tumour and without, so that nothing but the tumour tells the two apart. In the phantom
as a whole every patient is in both folders, and a small network reaches 100 % there without a look at any tumour.
"""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from brain_tumor.data.images import WHOLE
from brain_tumor.data.masks import masks_at_model_size
from brain_tumor.download.phantom.plan import ORIGINAL, PLANES, PhantomFile
from brain_tumor.download.phantom.slice import draw_slice
from brain_tumor.explanation.gradcam import grad_cam
from brain_tumor.explanation.localization import ALL, SCORES, localization_table
from brain_tumor.model.classifier import HEADS

SIZE, TRAINED, UNSEEN = 64, 24, 12  # pixels, patients, patients
LABELS = ("glioma", "meningioma")  # a slice with a pituitary tumour differs from the same one without in the sella too


def convolution(inputs, outputs, stride):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs), nn.ReLU())


def network():
    """Tumour or none, from pixels: a small trunk and the project's own head; the explained layer has 16 x 16 cells."""
    torch.manual_seed(0)
    trunk = nn.Sequential(convolution(1, 16, 2), convolution(16, 32, 2), convolution(32, 32, 1), convolution(32, 32, 1))
    return trunk, HEADS["pooled"](SimpleNamespace(channels=32), SimpleNamespace(dropout=0.4, classes=("none", "any")))


def train(trunk, head, pixels, labels, epochs):
    """Mirrored at random, so that few slices go further."""
    optimizer = torch.optim.AdamW([*trunk.parameters(), *head.parameters()], lr=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=epochs * -(-len(pixels) // 24))
    for rows in (rows for _ in range(epochs) for rows in torch.randperm(len(pixels)).split(24)):
        batch = torch.where(torch.rand(len(rows), 1, 1, 1) < 0.5, pixels[rows], pixels[rows].flip(3))
        loss = nn.functional.cross_entropy(head(trunk(batch)), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def drawn(label, patient, plane):
    file = PhantomFile("", label, f"P{patient:03d}", plane, 0, ORIGINAL, "L")
    pixels, outline = draw_slice(file, seed=3)
    return cv2.resize(pixels, (SIZE, SIZE), interpolation=cv2.INTER_AREA), outline


@pytest.fixture(scope="module")
def pairs():
    """Pixels (slices, 2, size, size) without and with the tumour, and its outlines; patient by patient."""
    pixels, outlines = [], []
    for patient in range(TRAINED + UNSEEN):
        for plane in PLANES:
            healthy, _ = drawn("notumor", patient, plane)
            ill, outline = drawn(LABELS[patient % 2], patient, plane)
            pixels.append((healthy, ill))
            outlines.append(outline)
    return torch.from_numpy(np.array(pixels)).float() / 128 - 1, outlines


def scores(trunk, head, pairs):
    """By kind of map: of the tumours of patients that training did not see, explained as such."""
    first = TRAINED * len(PLANES)
    pixels, outlines = pairs[0][first:, 1:], pairs[1][first:]
    maps = grad_cam(trunk.eval(), head.eval(), pixels, torch.ones(len(pixels), dtype=torch.long))
    names = [str(number) for number in range(len(pixels))]
    rows, masks = masks_at_model_size(dict(zip(names, outlines, strict=True)), names, [WHOLE] * len(names), SIZE)
    assert len(rows) == len(pixels) == UNSEEN * len(PLANES)
    table = localization_table(maps, masks, ["tumour"] * len(rows), np.ones(len(rows), bool), 0)
    return table[table["class"] == ALL].set_index("map")[list(SCORES)]


@pytest.mark.slow
def test_a_trained_network_looks_at_the_tumour_and_a_random_one_does_not(pairs):
    trunk, head = network()
    untrained = scores(trunk, head, pairs)
    pixels = pairs[0][: TRAINED * len(PLANES)]
    labels = torch.tensor([0, 1]).repeat(len(pixels))
    trunk.train()
    train(trunk, head.train(), pixels.reshape(-1, 1, SIZE, SIZE), labels, epochs=30)
    trained = scores(trunk, head, pairs)

    print(trained, untrained, sep="\n")
    assert trained.loc["model", "pointing"] > 0.75
    assert (trained.loc["model"] > 2 * trained.drop("model").max()).all()
    assert (untrained.loc["model"] < 0.5 * trained.loc["model"]).all()
