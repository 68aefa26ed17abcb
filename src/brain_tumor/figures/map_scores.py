"""Figures of what the maps are worth."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from brain_tumor.explanation.sanity import OTHER
from brain_tumor.figures.style import BLUE, GREY, VERMILLION, nothing, styled

TITLES = {
    "pointing": "maximum at the tumour",
    "mass": "share of the map inside the outline",
    "iou": "overlap (IoU) of the hottest area",
}

KINDS = {
    "model": ("the model's map", "o", BLUE),
    "centred": ("blob in the middle", "s", VERMILLION),
    "shuffled": ("map of another image", "D", GREY),
}
"""Name, marker and colour of each kind of map."""


@styled
def localization_figure(table: pd.DataFrame) -> Figure:
    """Scores by class and prediction, the model's maps beside the baselines.

    Args:
        table: as `localization_table` makes it, with the kinds of maps `KINDS`; without rows the figure says so.
    """
    if table.empty:
        return nothing("no test image has an outline (download.annotations, or masks beside pictures)")
    groups = list(table[["class", "prediction"]].drop_duplicates().itertuples(index=False, name=None))
    figure = Figure((9.6, 1.4 + 0.34 * len(groups)), layout="constrained")
    for axes, (score, title) in zip(figure.subplots(1, len(TITLES), sharey=True), TITLES.items(), strict=True):
        for kind, rows in table.groupby("map", sort=False):
            label, marker, colour = KINDS[str(kind)]
            places = [groups.index(group) for group in zip(rows["class"], rows["prediction"], strict=True)]
            axes.plot(rows[score], places, marker, color=colour, ms=7, alpha=0.85, label=label, clip_on=False)
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.set_title(title)
    images = table[table["map"] == "model"]["images"]
    labels = [f"{name}, {word} ({count:,})" for (name, word), count in zip(groups, images, strict=True)]
    figure.axes[0].set_yticks(range(len(groups)), labels)
    figure.axes[0].set_ylim(len(groups) - 0.5, -0.5)
    _legend(figure)
    return figure


@styled
def randomization_figure(table: pd.DataFrame) -> Figure:
    """Similarity of maps while layer after layer is randomised, and that of maps of different images.

    Args:
        table: as `randomization_curve` makes it.
    """
    steps, floor = table[table["step"].notna()], table[table["layer"] == OTHER].iloc[0]
    places = np.arange(len(steps))
    figure = Figure((7.2, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for column, label, line, colour in (
        ("ssim", "SSIM", "-o", BLUE),
        ("rank_correlation", "rank correlation", "--s", VERMILLION),
    ):
        axes.plot(places, steps[column], line, color=colour, ms=4, label=label)
        axes.axhline(floor[column], color=colour, linestyle=":", linewidth=1.2, label=f"{label}, other image")
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_xticks(places, steps["layer"], rotation=45, ha="right")
    axes.set(xlabel="random from the logits down to this layer", ylabel="similarity with the model's map")
    axes.set_ylim(top=1.02)
    _legend(figure, columns=4)
    return figure


@styled
def deletion_insertion_figure(table: pd.DataFrame) -> Figure:
    """Mean probability of the predicted class over the share of pixels, by the maps' order and by a random one.

    Args:
        table: as `deletion_insertion` makes it.
    """
    figure = Figure((8.4, 3.5), layout="constrained")
    first, second = figure.subplots(1, 2, sharey=True)
    _game(first, table, "deletion", "hottest pixels blurred: a steep fall is good")
    _game(second, table, "insertion", "hottest pixels brought back: a steep rise is good")
    first.set_ylabel("probability of the predicted class")
    first.set_ylim(0, 1.02)
    _legend(figure)
    return figure


def _game(axes: Axes, table: pd.DataFrame, game: str, title: str) -> None:
    axes.plot(table["pixels"], table[game], "-o", color=BLUE, ms=4, label="order of the map")
    axes.plot(table["pixels"], table[f"{game}_random"], "--s", color=VERMILLION, ms=4, label="random order")
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set(xlabel="share of the pixels", title=title)


def _legend(figure: Figure, columns: int = 3) -> None:
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)
