"""Tumours in the drawn heads: each class where it grows and as it looks after contrast agent."""

import cv2
import numpy as np

from brain_tumor.data.drawing import Grey, Points, blurred, depth_inside, fill, ragged_circle
from brain_tumor.download.phantom.anatomy import SELLA, Brain
from brain_tumor.download.phantom.canvas import SIDE, Head


def paint_tumour(head: Head, brain: Brain, label: str, plane: str) -> Grey:
    """Paint the tumour of a class, `notumor` excepted; returns the mask of what is tumour."""
    if label == "glioma":
        return _paint_glioma(head, brain, plane)
    if label == "meningioma":
        return _paint_meningioma(head, brain, plane)
    return _paint_pituitary(head, plane)


def border_of(tumour: Grey) -> Points:
    """The outline of a mask, in pixels of the drawing."""
    contours, _ = cv2.findContours((tumour > 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    largest = max(contours, key=cv2.contourArea)
    border: Points = cv2.approxPolyDP(largest, 0.5, True)[:, 0].astype(np.float64)
    return border


def _paint_glioma(head: Head, brain: Brain, plane: str) -> Grey:
    """Inside the brain: a ragged bright rim of uneven width about a dark core, with swollen dark matter around."""
    radius = SIDE * head.view.uniform(0.08, 0.094) * head.own.uniform(0.94, 1.06)
    hemispheres = head.y < -0.08 if plane == "sagittal" else (np.abs(head.x) > 0.22) & (head.y < 0.5)
    roomy = np.argwhere((brain.depth > 1.25 * radius) & hemispheres)
    wanted = head.pixels([(head.view.uniform(-0.55, 0.55), head.view.uniform(-0.65, 0.5))])[0]
    nearest = roomy[np.linalg.norm(roomy - wanted[::-1], axis=1).argmin()]
    y, x = nearest + head.own.normal(0, 3, 2)
    tumour = fill(ragged_circle(x, y, radius, 0.075, head.view, head.own), 0.8, SIDE) * brain.skull
    swelling = blurred(tumour, 0.45 * radius) * (1 + 0.25 * head.texture(8))
    inside = np.where(brain.skull, np.clip(swelling, 0, 1), 0)
    head.paint(inside, head.image * np.float32(0.62))
    depth = depth_inside(tumour > 0.5)
    core = np.clip((depth - radius * (0.36 + 0.13 * head.texture(9))) / 3, 0, 1)
    rim = 0.85 + 0.07 * head.texture(4)
    head.paint(tumour, (rim + (0.2 + 0.05 * head.texture(4) - rim) * core).astype(np.float32))
    return tumour


def _paint_meningioma(head: Head, brain: Brain, plane: str) -> Grey:
    """A smooth, evenly bright ball that grows from the skull or the falx and pushes the brain away."""
    radius = SIDE * head.view.uniform(0.07, 0.092) * head.own.uniform(0.94, 1.06)
    if brain.falx is not None and head.view.random() < 0.3:
        along = head.view.uniform(0.2, 0.9)
        side = head.view.choice([-1.0, 1.0])
        x, y = head.pixels(brain.falx[:1] * (1 - along) + brain.falx[1:] * along)[0] + (side * 0.8 * radius, 0)
    else:
        distance = depth_inside(brain.skull)
        sella = SELLA[plane]
        far_from_sella = np.hypot(head.x - sella[0], head.y - sella[1]) > 0.45
        shell = (np.abs(distance - 0.75 * radius) < 1) & far_from_sella
        ring = np.argwhere(shell)
        centre = ring.mean(axis=0)
        wanted = head.view.uniform(-np.pi, np.pi)
        angles = np.arctan2(*(ring - centre).T)
        y, x = ring[np.argmin(np.abs(np.angle(np.exp(1j * (angles - wanted)))))]
    x, y = np.array([x, y]) + head.own.normal(0, 1.5, 2)
    tumour = fill(ragged_circle(x, y, radius, 0.02, head.view, head.own), 0.8, SIDE) * brain.skull
    head.paint(_widened(tumour) * brain.skull, head.patient.tissue["fluid"])
    head.paint(tumour, 0.88 + 0.025 * head.texture(6))
    return tumour


def _paint_pituitary(head: Head, plane: str) -> Grey:
    """In the midline at the skull base: a bright round mass out of the sella, often waisted where it leaves it."""
    radius = SIDE * head.view.uniform(0.06, 0.075) * head.own.uniform(0.94, 1.06)
    x, y = head.pixels([SELLA[plane]])[0] + head.own.normal(0, 1.2, 2)
    lower = fill(ragged_circle(x, y, radius * 0.9, 0.03, head.view, head.own), 0.8, SIDE)
    upper = fill(ragged_circle(x, y - 0.75 * radius, radius * 0.72, 0.03, head.view, head.own), 0.8, SIDE)
    tumour = np.maximum(lower, upper) if plane != "axial" else lower
    head.paint(_widened(tumour), head.patient.tissue["fluid"])
    head.paint(tumour, 0.84 + 0.04 * head.texture(5))
    return tumour


def _widened(mask: Grey) -> Grey:
    return np.asarray(cv2.dilate(mask, np.ones((5, 5), np.uint8)), np.float32)
