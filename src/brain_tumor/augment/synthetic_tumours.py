"""Synthetic tumours in pictures of healthy heads.

In the main data set tumours and healthy heads come from different collections, so that a network can tell them apart
by the kind of picture. A synthetic tumour breaks that link: a network sees the same picture with one and without. It
need not look like any one disease, only like something that does not belong there; its type is unknown.

The idea is that of synthetic anomalies: Tan et al., Detecting Outliers with Foreign Patch Interpolation, 2022; Hu et
al., Label-Free Liver Tumor Segmentation, 2023.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from brain_tumor.data.drawing import Grey, blurred, depth_inside, fill, noise, ragged_circle
from brain_tumor.data.images import Pixels, head_mask

_LEAST_CHANGE = 0.1  # of the grey scale, on average over the tumour; with less nobody would see one
_ATTEMPTS = 50
_RADII = (0.06, 0.26)  # shares of the side
_WIDEST_SWELLING = 0.33  # its radius, as a share of the side
_RIM = 0.11  # share of the side that scalp and skull take at the edge of a head


@dataclass(frozen=True)
class _Site:
    """Where a tumour grows, and what the tissue there looks like.

    Attributes:
        x, y, radius: in pixels.
        dark, middle: grey values of the head, 0 to 1: the 5th and the 50th percentile.
    """

    x: float
    y: float
    radius: float
    dark: float
    middle: float


def draw_synthetic_tumour(image: Pixels, rng: Generator) -> tuple[Pixels, Pixels]:
    """Draw one tumour; its place, size, brightness, texture and swelling are random.

    Args:
        image: (side, side), grey values of a head, as `Reader` with `crop: head` makes them.
        rng: of everything random here.

    Returns:
        The picture with a tumour; and where it is, 255 within and 0 outside. Both have the same shape.
    """
    side = len(image)
    head = np.asarray(cv2.resize(head_mask(image), (side, side), interpolation=cv2.INTER_NEAREST), np.uint8)
    picture = np.asarray(image / 255, np.float32)
    for _ in range(_ATTEMPTS):
        drawn, tumour = _draw(picture, head, rng)
        if np.average(np.abs(drawn - picture), weights=tumour) > _LEAST_CHANGE:
            break
    return np.asarray((drawn * 255).round(), np.uint8), np.asarray((tumour * 255).round(), np.uint8)


def _draw(picture: Grey, head: Pixels, rng: Generator) -> tuple[Grey, Grey]:
    """The picture with a tumour, which may happen to look as what it covers; and the tumour's mask, 0 to 1."""
    side = len(picture)
    site = _choose_site(picture, head, rng)
    grain = picture - blurred(picture, 1.5)
    tumour = fill(_outline(site, 1.0, rng), rng.uniform(0.5, 2), side) * head
    if rng.random() < 0.6:
        picture = _pushed_aside(picture, site, head, rng)
    if rng.random() < 0.55:
        picture = _swollen(picture, site, head, rng)
    paint = list(TISSUES.values())[rng.choice(len(TISSUES), p=_SHARES)]
    painted = paint(picture, depth_inside(tumour > 0.5), site, rng) + 0.7 * grain  # it keeps the picture's own grain
    mixed = picture + rng.uniform(0.75, 1) * tumour * (painted - picture)
    return np.asarray(np.clip(mixed, 0, 1), np.float32), tumour


def _choose_site(picture: Grey, head: Pixels, rng: Generator) -> _Site:
    """A place within the head that leaves room for most of the tumour."""
    side = len(picture)
    radius = side * float(np.exp(rng.uniform(*np.log(_RADII))))
    depth = depth_inside(head > 0)
    roomy = np.argwhere(depth > max(_RIM * side, 0.7 * radius))
    if not len(roomy):
        roomy = np.argwhere(depth >= depth.max())
    y, x = roomy[rng.integers(len(roomy))]
    dark, middle = np.percentile(picture[head > 0], (5, 50))
    return _Site(float(x), float(y), radius, float(dark), float(middle))


def _outline(site: _Site, reach: float, rng: Generator) -> np.ndarray:
    """A ragged oval about the site, `reach` times its radius."""
    circle = ragged_circle(0, 0, reach * site.radius, rng.uniform(0.02, 0.12), rng, rng)
    circle[:, 1] *= rng.uniform(0.6, 1)
    turn = rng.uniform(0, np.pi)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return np.asarray(circle @ rotation + (site.x, site.y))


def _pushed_aside(picture: Grey, site: _Site, head: Pixels, rng: Generator) -> Grey:
    """Tissue makes room: it moves away from the site, by up to 0.4 of the radius, and the skull stays."""
    y, x = np.mgrid[: len(picture), : len(picture)].astype(np.float32)
    dx, dy = x - np.float32(site.x), y - np.float32(site.y)
    distance = np.hypot(dx, dy) + 1e-3
    push = rng.uniform(0.1, 0.4) * site.radius * np.exp(-((distance / (1.8 * site.radius)) ** 2))
    soft = np.clip(depth_inside(head > 0) / (_RIM * len(picture)), 0, 1)
    share = np.asarray(soft * push / (distance + 2), np.float32)
    moved = cv2.remap(picture, x - dx * share, y - dy * share, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(moved, np.float32)


def _swollen(picture: Grey, site: _Site, head: Pixels, rng: Generator) -> Grey:
    """Oedema: a wider soft area, dark as on T1 or bright as on T2."""
    side = len(picture)
    reach = min(rng.uniform(1.3, 2.1), _WIDEST_SWELLING * side / site.radius)
    area = fill(_outline(site, reach, rng), rng.uniform(1, 5), side)
    area = area * (head > 0) * np.clip(1 + 0.3 * noise(side / 20, rng, side), 0, 1)
    dark, bright = 0.8 * site.dark + 0.1 * site.middle, min(1.0, site.middle * rng.uniform(1.2, 1.8))
    level = dark if rng.random() < 0.5 else bright
    return np.asarray(picture + 0.75 * area * (level - picture), np.float32)


def _solid(picture: Grey, depth: Grey, site: _Site, rng: Generator) -> Grey:  # noqa: ARG001
    """Even tissue, four times in five brighter than the brain."""
    return _level(site, rng) + _texture(picture, rng)


def _ring(picture: Grey, depth: Grey, site: _Site, rng: Generator) -> Grey:
    """A rim of uneven width about a core of another brightness."""
    width = site.radius * rng.uniform(0.15, 0.4) * (1 + 0.35 * noise(12, rng, len(picture)))
    core = np.clip((depth - width) / 2, 0, 1)
    rim, inner = _level(site, rng), site.middle * rng.uniform(0.1, 1.4)
    return np.asarray(rim + core * (inner - rim) + _texture(picture, rng), np.float32)


def _patchy(picture: Grey, depth: Grey, site: _Site, rng: Generator) -> Grey:  # noqa: ARG001
    """Abnormal tissue with brain between."""
    share = 1 / (1 + np.exp(-4 * noise(max(3, site.radius / 2.5), rng, len(picture))))
    tissue = _level(site, rng) + _texture(picture, rng)
    return np.asarray(picture + share * (tissue - picture), np.float32)


def _cyst(picture: Grey, depth: Grey, site: _Site, rng: Generator) -> Grey:  # noqa: ARG001
    """Fluid: darker or brighter than anything around, without texture."""
    level = site.dark * rng.uniform(0.5, 1.2) if rng.random() < 0.6 else rng.uniform(0.85, 1)
    return np.full_like(picture, level)


TISSUES: Mapping[str, Callable[[Grey, Grey, _Site, Generator], Grey]] = {
    "solid": _solid,
    "ring": _ring,
    "patchy": _patchy,
    "cyst": _cyst,
}
"""What a tumour can be made of: functions of the picture, the depth below the tumour's edge, and its site."""

_SHARES = (0.45, 0.3, 0.15, 0.1)  # how often each of `TISSUES` is drawn


def _level(site: _Site, rng: Generator) -> np.float32:
    if rng.random() < 0.8:
        return np.float32(site.middle + rng.uniform(0.25, 0.8) * (1 - site.middle))
    return np.float32(site.middle * rng.uniform(0.1, 0.65))


def _texture(picture: Grey, rng: Generator) -> Grey:
    return noise(rng.uniform(3, 10), rng, len(picture)) * np.float32(rng.uniform(0.02, 0.09))
