"""Figures of scores: each draws the table of its name."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from brain_tumor.figures.style import BLUE, GREY, VERMILLION, nothing, styled

LINES = ((BLUE, "-"), (VERMILLION, "--"), ("#009E73", "-."), ("#CC79A7", ":"))
"""Colour, from the same palette, and dashes of each class, so that lines differ without colour too."""


@styled
def confusion_matrix(confusion: pd.DataFrame) -> Figure:
    """Counts, and shares of the true class; colour shows the share.

    Args:
        confusion: a row a pair of classes: `actual`, `predicted`, `images`, `share` (NaN for a class without images).
    """
    classes = confusion["actual"].unique()
    cells = confusion.set_index(["actual", "predicted"]).unstack().reindex(classes)
    counts, shares = cells["images"][classes].to_numpy(), cells["share"][classes].to_numpy()
    support = counts.sum(axis=1)
    side = 1.9 + 1.05 * len(classes)
    figure = Figure((side + 0.9, side - 0.75), layout="constrained")
    axes = figure.add_subplot()
    picture = axes.imshow(np.nan_to_num(shares), vmin=0, vmax=1, cmap="cividis", interpolation="nearest")
    for row, column in np.ndindex(*counts.shape):
        count, share = counts[row, column], shares[row, column]
        text = f"{count:,}\n{share:.1%}" if support[row] else f"{count:,}\n–"
        colour = "black" if share > 0.5 else "white"
        weight = "bold" if row == column else "normal"
        axes.text(column, row, text, ha="center", va="center", color=colour, weight=weight)
    labels = [f"{name}\n{images:,}" for name, images in zip(classes, support, strict=True)]
    axes.set_xticks(range(len(classes)), classes)
    axes.set_yticks(range(len(classes)), labels)
    axes.set(xlabel="predicted", ylabel="true class and its images")
    axes.set_title(f"{np.trace(counts):,} of {counts.sum():,} images correct")
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(picture, ax=axes, shrink=0.8, format=PercentFormatter(1, decimals=0))
    bar.set_label("share of the true class")
    bar.outline.set_visible(False)
    return figure


@styled
def training_curves(history: pd.DataFrame) -> Figure:
    """Loss and accuracy of train and validation over the epochs, and the epoch of lowest validation loss.

    Args:
        history: a row an epoch: `epoch`, `train_loss`, `val_loss`, `train_accuracy`, `val_accuracy`.
    """
    if history.empty:
        return nothing("no epochs")
    best = history["epoch"].iloc[int(history["val_loss"].to_numpy().argmin())]
    figure = Figure((8.4, 3.4), layout="constrained")
    for axes, quantity in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        axes.axvline(best, color=GREY, linestyle=":", linewidth=1.2, label=f"lowest validation loss: epoch {best}")
        axes.plot("epoch", f"train_{quantity}", "--o", data=history, color=VERMILLION, ms=4, label="train")
        axes.plot("epoch", f"val_{quantity}", "-s", data=history, color=BLUE, ms=4, label="validation")
        axes.set(xlabel="epoch", title=quantity)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.axes[0].set_ylim(bottom=0)
    figure.axes[1].yaxis.set_major_formatter(PercentFormatter(1))
    figure.axes[1].set_ylim(top=1.005)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


@styled
def ranking_curves(roc: pd.DataFrame, precision_recall: pd.DataFrame) -> Figure:
    """ROC and precision-recall curves, one-vs-rest, side by side.

    Args:
        roc: `false_positive_rate` and a column for each of at most four classes.
        precision_recall: `sensitivity` and the same columns.
    """
    classes = roc.columns[1:]
    figure = Figure((8.4, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (colour, dashes), name in zip(LINES, classes, strict=False):
        left.plot(roc["false_positive_rate"], roc[name], dashes, color=colour, label=name)
        right.plot(precision_recall["sensitivity"], precision_recall[name], dashes, color=colour)
    left.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
    left.set(xlabel="1 − specificity (false alarms)", ylabel="sensitivity", title="ROC, each class against the others")
    right.set(xlabel="sensitivity (recall)", ylabel="precision", title="precision and recall")
    for axes in (left, right):
        _share_axes(axes)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=len(classes))
    return figure


@styled
def reliability_diagram(bins: pd.DataFrame, errors: Mapping[str, float]) -> Figure:
    """Accuracy over confidence, in bins of equal size, before and after calibration.

    Args:
        bins: a row a bin: `calibration` (`before` or `after`), `confidence`, `accuracy`, `images`.
        errors: for `before` and `after` the expected calibration error.
    """
    figure = Figure((4.6, 4.4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, label="perfectly calibrated")
    for name, colour, line in (("before", VERMILLION, "--o"), ("after", BLUE, "-s")):
        shown = bins[bins["calibration"] == name]
        label = f"{name} calibration, error {errors[name]:.3f}"
        axes.plot(shown["confidence"], shown["accuracy"], line, color=colour, ms=4, label=label)
    low = min(bins["confidence"].min(), bins["accuracy"].min())
    axes.set(xlim=(max(0, low - 0.05), 1.01), ylim=(max(0, low - 0.05), 1.01))
    sizes = bins.loc[bins["calibration"] == "after", "images"]
    axes.set(xlabel="confidence (mean of the bin)", ylabel="accuracy", title=f"{len(sizes)} bins of equal size")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    axes.legend(loc="lower right")
    return figure


@styled
def risk_coverage_curve(curve: pd.DataFrame, marks: Mapping[float, float]) -> Figure:
    """Share of errors among the images that are answered, over the share that is answered.

    Args:
        curve: `coverage` and `risk`.
        marks: for each allowed risk the coverage that can be had with it.
    """
    figure = Figure((4.6, 3.6), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(curve["coverage"], curve["risk"], color=BLUE, drawstyle="steps-post")
    for (risk, coverage), (colour, dashes) in zip(marks.items(), LINES[1:], strict=False):
        label = f"at most {risk:.0%} wrong: {coverage:.0%} answered"
        axes.axhline(risk, color=colour, linestyle=dashes, linewidth=1.2, label=label)
    axes.legend(loc="upper left")
    axes.set(xlabel="coverage: share of images answered, surest first", ylabel="risk: share of those wrong")
    axes.set(xlim=(0, 1.01), ylim=(0, max(0.03, 1.1 * float(curve["risk"].max()))))
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    return figure


@styled
def accuracy_by_subset(subsets: pd.DataFrame) -> Figure:
    """Accuracy with its interval on each subset of the test images; empty subsets are left out.

    Args:
        subsets: a row a subset: `subset`, `images`, `groups`, `accuracy`, `low`, `high`.
    """
    shown = subsets[subsets["images"] > 0].iloc[::-1]
    figure = Figure((7.2, 0.9 + 0.32 * len(shown)), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(shown))
    reach = np.stack([shown["accuracy"] - shown["low"], shown["high"] - shown["accuracy"]])
    axes.errorbar(shown["accuracy"], places, xerr=reach.clip(0), fmt="o", color=BLUE, capsize=3)
    labels = [f"{row.subset}, {row.images:,} ({row.groups:,})" for row in shown.itertuples()]
    axes.set_yticks(places, labels)
    axes.set(xlabel="accuracy and its 95 % interval", title="subset, images (independent groups)")
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set_ylim(-0.7, len(shown) - 0.3)
    return figure


def _share_axes(axes: Axes) -> None:
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
