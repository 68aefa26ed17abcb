"""What the explanations come to: the few numbers of `metrics/explain.json`."""

from collections.abc import Mapping
from typing import Any


def headline(scores: Mapping[str, Any]) -> dict[str, Any]:
    """The few numbers of `metrics/explain.json`; all others are in `plots/map_scores.csv`.

    Args:
        scores: `outside_head` as its function sums it up, and `localization` where outlines are there.

    Returns:
        `outside_head`, the share of the maps outside the head; and where outlines are there `pointing`, how often the
        maximum of a right prediction's map is at the tumour.
    """
    values = {"outside_head": scores["outside_head"]["mass"]}
    pointing = scores.get("localization", {}).get("pointing", {})
    if pointing:
        values["pointing"] = pointing["model"]
    return values
