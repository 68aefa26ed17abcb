"""Heads without tumours: scalp, bone, brain and ventricles as an axial, coronal or sagittal slice shows them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brain_tumor.data.drawing import Grey, Points, above, blurred, depth_inside
from brain_tumor.download.phantom.canvas import Head, arc, distance_to_line, stroke

_AXIAL_HEAD = ((0, -0.93), (0.32, -0.86), (0.56, -0.6), (0.7, -0.15), (0.72, 0.25), (0.58, 0.68), (0.3, 0.9),
               (0, 0.94), (-0.3, 0.9), (-0.58, 0.68), (-0.72, 0.25), (-0.7, -0.15), (-0.56, -0.6),
               (-0.32, -0.86))  # fmt: skip
_CORONAL_HEAD = ((0, -0.93), (0.38, -0.85), (0.65, -0.55), (0.72, -0.15), (0.68, 0.2), (0.62, 0.5), (0.52, 0.8),
                 (0.42, 1.1), (-0.42, 1.1), (-0.52, 0.8), (-0.62, 0.5), (-0.68, 0.2), (-0.72, -0.15), (-0.65, -0.55),
                 (-0.38, -0.85))  # fmt: skip
_CORONAL_SKULL = ((0, -0.8), (0.32, -0.73), (0.54, -0.47), (0.6, -0.12), (0.56, 0.14), (0.42, 0.29), (0.24, 0.29),
                  (0.12, 0.17), (0, 0.15), (-0.12, 0.17), (-0.24, 0.29), (-0.42, 0.29), (-0.56, 0.14), (-0.6, -0.12),
                  (-0.54, -0.47), (-0.32, -0.73))  # fmt: skip
_SAGITTAL_HEAD = ((-0.78, -0.2), (-0.7, -0.58), (-0.42, -0.85), (0.05, -0.94), (0.52, -0.8), (0.82, -0.38),
                  (0.84, 0.02), (0.7, 0.36), (0.56, 0.6), (0.54, 1.1), (-0.1, 1.1), (-0.2, 0.84), (-0.52, 0.88),
                  (-0.62, 0.74), (-0.62, 0.56), (-0.7, 0.5), (-0.68, 0.42), (-0.86, 0.3), (-0.76, 0.06))  # fmt: skip
_SAGITTAL_SKULL = ((-0.65, -0.2), (-0.58, -0.52), (-0.36, -0.74), (0.05, -0.81), (0.46, -0.69), (0.7, -0.34),
                   (0.71, 0.0), (0.56, 0.28), (0.34, 0.37), (0.16, 0.36), (0.02, 0.24), (-0.14, 0.12), (-0.34, 0.08),
                   (-0.56, 0.02))  # fmt: skip

SELLA = {"axial": (0.0, -0.16), "coronal": (0.0, 0.2), "sagittal": (-0.13, 0.18)}
"""Where the pituitary gland lies."""


@dataclass(frozen=True)
class Brain:
    """Where tumours may grow.

    Attributes:
        skull: (SIDE, SIDE), True inside it.
        depth: (SIDE, SIDE), pixels to the skull or to the falx, whichever is nearer.
        falx: two ends of the visible falx in head units; None where the slice runs along it.
    """

    skull: NDArray[np.bool_]
    depth: Grey
    falx: Points | None


def paint_head(head: Head, plane: str, through_sella: bool) -> Brain:
    """Paint the head of a healthy person.

    Args:
        head: the canvas, still black.
        plane: of the slice, one of `plan.PLANES`.
        through_sella: whether the slice shows the pituitary gland.
    """
    return _PAINTERS[plane](head, through_sella)


def _paint_axial(head: Head, through_sella: bool) -> Brain:
    tissue, wide = head.patient.tissue, head.patient.ventricles * (1 - 0.2 * head.level)
    outer = head.outline(_AXIAL_HEAD)
    thickness = depth_inside(outer > 0.5)
    skull = above(thickness, 15 + head.texture(30))
    _paint_coverings(head, outer, skull)
    falx = np.array([[0.0, -0.76], [0.0, -0.38]]) if through_sella else np.array([[0.0, -0.76], [0.0, 0.76]])
    _paint_brain(head, skull, falx)
    if through_sella:
        for side in (-1, 1):
            head.paint(stroke(head, [(side * 0.12, -0.2), (side * 0.3, -0.26), (side * 0.55, -0.3)], 3.5), 0.1)
            head.paint(stroke(head, [(side * 0.2, 0.33), (side * 0.38, 0.36), (side * 0.58, 0.3)], 2.5), 0.1)
        head.paint(head.oval(0, -0.15, 0.15, 0.11) * skull, tissue["fluid"])
        head.paint(head.oval(0, 0.1, 0.18, 0.14), tissue["white"])
        head.paint(head.oval(0, 0.3, 0.05 * wide, 0.045 * wide), tissue["fluid"])
        head.paint(head.oval(0, -0.15, 0.035, 0.03), 0.62)
        for x, y in ((0.09, -0.12), (-0.09, -0.12), (0.0, -0.24), (0.3, -0.26), (-0.3, -0.26)):
            head.paint(head.oval(x, y, 0.014, 0.014), 0.8)
    else:
        for side in (-1, 1):
            head.paint(head.oval(side * 0.2, 0.0, 0.11, 0.2, side * 12), 0.9 * tissue["grey"])
            head.paint(head.oval(side * 0.1 * wide, -0.22, 0.05 * wide, 0.17, side * -22), tissue["fluid"])
            head.paint(head.oval(side * 0.17 * wide, 0.28, 0.055 * wide, 0.2, side * 24), tissue["fluid"])
            head.paint(head.oval(side * 0.14 * wide, 0.22, 0.02, 0.05, side * 24), 0.72)
        head.paint(head.oval(0, 0.02, 0.018 * wide, 0.12), tissue["fluid"])
    return _brain(head, skull, falx)


def _paint_coronal(head: Head, through_sella: bool) -> Brain:
    tissue, wide = head.patient.tissue, head.patient.ventricles * (1 - 0.2 * head.level)
    outer, skull = head.outline(_CORONAL_HEAD), head.outline(_CORONAL_SKULL)
    _paint_coverings(head, outer, skull)
    falx = np.array([[0.0, -0.78], [0.0, -0.36]])
    _paint_brain(head, skull, falx)
    for side in (-1, 1):
        head.paint(stroke(head, [(side * 0.56, -0.04), (side * 0.4, 0.0), (side * 0.3, -0.08)], 4), 0.1)
        head.paint(head.oval(side * 0.2, -0.1, 0.1, 0.1) * skull, 0.92 * tissue["grey"])
        head.paint(head.oval(side * 0.1 * wide, -0.25, 0.1 * wide, 0.04 * wide, side * 28), tissue["fluid"])
        head.paint(head.oval(side * 0.26, 0.5, 0.14, 0.13), 0.05)
        head.paint(head.oval(side * 0.06, 0.56, 0.03, 0.15), 0.06)
        head.paint(head.oval(side * 0.1, 0.2, 0.016, 0.02), 0.1)
    head.paint(stroke(head, [(-0.2, -0.335), (0, -0.31), (0.2, -0.335)], 5), tissue["white"] * 1.1)
    head.paint(head.oval(0, -0.08, 0.02 * wide, 0.09), tissue["fluid"])
    if through_sella:
        head.paint(head.oval(0, 0.14, 0.12, 0.045), tissue["fluid"])
        head.paint(head.oval(0, 0.21, 0.06, 0.028), 0.62)
        head.paint(head.oval(0, 0.31, 0.12, 0.07), 0.04)
    else:
        head.paint(head.oval(0, 0.12, 0.1, 0.16), tissue["white"])
    return _brain(head, skull, falx)


def _paint_sagittal(head: Head, through_sella: bool) -> Brain:
    tissue, wide = head.patient.tissue, head.patient.ventricles * (1 - 0.2 * head.level)
    outer, skull = head.outline(_SAGITTAL_HEAD), head.outline(_SAGITTAL_SKULL)
    _paint_coverings(head, outer, skull)
    _paint_brain(head, skull, None)
    head.paint(stroke(head, [(0.14, 0.12), (0.4, 0.04), (0.66, 0.08)], 3.5) * skull, 0.1)
    cerebellum = head.oval(0.42, 0.19, 0.22, 0.14, -14) * skull
    leaves = 0.5 + 0.5 * np.sin(70 * np.hypot(head.x - 0.24, head.y - 0.16) + head.texture(14))
    head.paint(cerebellum, (tissue["grey"] * (0.75 + 0.4 * leaves)).astype(np.float32))
    head.paint(head.oval(-0.56, 0.28, 0.1, 0.09), 0.06)
    head.paint(head.oval(-0.45, 0.5, 0.2, 0.035, 4), 0.08)
    head.paint(head.oval(-0.4, 0.64, 0.17, 0.07, 6), 0.5)
    if through_sella:
        head.paint(arc(head, 11, 0.33, 0.2, -0.14), tissue["white"] * 1.18)
        head.paint(arc(head, 7 * wide, 0.26, 0.14, -0.12), tissue["fluid"])
        head.paint(head.oval(0.02, -0.08, 0.15, 0.075, 8), tissue["grey"])
        head.paint(stroke(head, [(0.04, 0.0), (0.1, 0.2), (0.16, 0.4), (0.22, 0.7), (0.24, 1.1)], 30), 0.1)
        head.paint(stroke(head, [(0.06, 0.0), (0.1, 0.2), (0.16, 0.4), (0.22, 0.7), (0.24, 1.1)], 19), tissue["white"])
        head.paint(head.oval(0.09, 0.17, 0.085, 0.1), tissue["white"])
        head.paint(head.oval(0.2, 0.17, 0.03 * wide, 0.06), tissue["fluid"])
        head.paint(head.oval(-0.13, 0.12, 0.08, 0.035) * skull, tissue["fluid"])
        head.paint(head.oval(-0.13, 0.18, 0.045, 0.028), 0.62)
        head.paint(head.oval(-0.26, 0.24, 0.1, 0.07, -20), 0.04)
    else:
        head.paint(arc(head, 9 * wide, 0.26, 0.12, -0.06), tissue["fluid"])
        head.paint(head.oval(0.05, -0.0, 0.15, 0.08, 8), tissue["grey"])
        head.paint(stroke(head, [(-0.36, 0.08), (-0.1, -0.02), (0.2, -0.1)], 4) * skull, 0.1)
    return _brain(head, skull, None)


def _paint_coverings(head: Head, outer: Grey, skull: Grey) -> None:
    """Muscle and fat of the head, the bright scalp, the dark bone around the brain."""
    tissue = head.patient.tissue
    flesh = tissue["muscle"] * (1 + 0.35 * head.texture(7) + 0.25 * head.texture(18))
    head.paint(outer, np.clip(flesh, 0.05, 0.5))
    depth = depth_inside(outer > 0.5)
    head.paint(outer * (1 - above(depth, 8 + head.texture(25))), tissue["scalp"])
    distance = depth_inside(skull < 0.5)
    head.paint(outer * (1 - above(distance, 6 + head.texture(25))), 0.06)
    head.paint(skull, tissue["fluid"])


def _paint_brain(head: Head, skull: Grey, falx: Points | None) -> None:
    """Grey and white matter with sulci; the cortex is what lies near fluid."""
    tissue, gaping = head.patient.tissue, head.patient.sulci
    depth = depth_inside(skull > 0.5)
    if falx is not None:
        depth = np.minimum(depth, distance_to_line(head, falx))
    near_surface = np.clip(1.15 - depth / 34, 0, 1)
    sulci = np.abs(head.texture(6.5)) < (0.08 + 0.16 * gaping) * near_surface
    matter = (depth > 2.5 + gaping) & ~sulci
    cortex = np.clip((depth_inside(matter) - 3.5 - 0.8 * head.texture(10)) / 2, 0, 1)
    value = tissue["grey"] + (tissue["white"] - tissue["grey"]) * cortex
    value = value * (1 + 0.03 * head.texture(4) + 0.04 * head.texture(20))
    head.paint(blurred(matter.astype(np.float32), 0.7), value.astype(np.float32))
    if falx is not None:
        head.paint(stroke(head, falx, 1.6), 0.42)
        head.paint(head.oval(0, float(falx[0, 1]) - 0.02, 0.03, 0.03), 0.85)  # the sagittal sinus


def _brain(head: Head, skull: Grey, falx: Points | None) -> Brain:
    inside = skull > 0.5
    depth = depth_inside(inside)
    if falx is not None:
        depth = np.minimum(depth, distance_to_line(head, falx))
    return Brain(inside, depth, falx)


_PAINTERS = {"axial": _paint_axial, "coronal": _paint_coronal, "sagittal": _paint_sagittal}
