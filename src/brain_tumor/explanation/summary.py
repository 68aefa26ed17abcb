"""What the explanations come to: the few numbers of `metrics/explain.json`, and the list of all."""

from collections.abc import Mapping
from typing import Any

BASELINES = ("centred", "shuffled")


def headline(scores: Mapping[str, Any]) -> dict[str, Any]:
    """The few numbers of `metrics/explain.json`.

    Args:
        scores: `outside_head`, `randomization`, `deletion` and `insertion`, as their functions sum them up, and
            `localization` where outlines are there.

    Returns:
        `outside_head`, the share of the maps outside the head; and where outlines are there `pointing_gain`, how much
        more often than for the better baseline, which knows no network, the maximum of a right prediction's map is at
        the tumour.
    """
    values = {"outside_head": scores["outside_head"]["mass"]}
    pointing = scores.get("localization", {}).get("pointing", {})
    if pointing:
        values["pointing_gain"] = round(pointing["model"] - max(pointing[name] for name in BASELINES), 4)
    return values
