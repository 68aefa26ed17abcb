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
        `pointing`, how often the maximum of a right prediction's map is at the tumour, beside its `pointing_baseline`,
        the better of the two that know no network (both absent without outlines); `outside_head`, the share of the
        maps outside the head; `random_weights_ssim`, how similar maps are with every layer random; and how much more
        than in random order the probability falls (`deletion_gain`) and rises (`insertion_gain`) in the maps' order.
    """
    values: dict[str, Any] = {}
    pointing = scores.get("localization", {}).get("pointing", {})
    if pointing:
        values["pointing"] = pointing["model"]
        values["pointing_baseline"] = max(pointing[name] for name in BASELINES)
    values["outside_head"] = scores["outside_head"]["mass"]
    values["random_weights_ssim"] = scores["randomization"]["ssim"]["all_random"]
    deletion, insertion = scores["deletion"], scores["insertion"]
    values["deletion_gain"] = round(deletion["random"] - deletion["model"], 4)
    values["insertion_gain"] = round(insertion["model"] - insertion["random"], 4)
    return values
