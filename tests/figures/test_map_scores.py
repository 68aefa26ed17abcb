import numpy as np
import pandas as pd

from brain_tumor.explanation.localization import TABLE_COLUMNS, localization_table
from brain_tumor.explanation.sanity import OTHER
from brain_tumor.figures.map_scores import deletion_insertion_figure, localization_figure, randomization_figure


def test_every_score_of_every_kind_of_map_is_drawn_at_its_place(rng):
    masks = np.zeros((6, 8, 8), bool)
    masks[:, 2:5, 2:5] = True
    table = localization_table(rng.random((6, 4, 4), dtype=np.float32), masks, list("aabbbb"), np.arange(6) > 0, 0)

    figure = localization_figure(table)

    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["all, correct (5)", "all, wrong (1)", "a, correct (1)", "a, wrong (1)", "b, correct (4)"]
    for axes, score in zip(figure.axes, ("pointing", "mass", "iou"), strict=True):
        model, centred, shuffled = axes.get_lines()
        for line, kind in ((model, "model"), (centred, "centred"), (shuffled, "shuffled")):
            np.testing.assert_allclose(line.get_xdata(), table.loc[table["map"] == kind, score])
            np.testing.assert_array_equal(line.get_ydata(), range(5))


def test_a_table_without_images_gives_a_figure_that_says_so():
    (axes,) = localization_figure(pd.DataFrame(columns=list(TABLE_COLUMNS))).axes
    assert "no test image has an outline" in axes.texts[0].get_text()


def test_the_randomization_curve_leaves_the_floor_out():
    table = pd.DataFrame(
        {
            "step": pd.array([0, 1, None], "Int64"),
            "layer": ["nothing", "head.4", OTHER],
            "ssim": [1.0, 0.6, 0.3],
            "rank_correlation": [1.0, 0.5, 0.1],
        }
    )
    (axes,) = randomization_figure(table).axes
    drawn = {line.get_label(): np.asarray(line.get_ydata()).tolist() for line in axes.get_lines()}
    assert drawn["SSIM"] == [1.0, 0.6]
    assert drawn["rank correlation"] == [1.0, 0.5]
    assert set(drawn["SSIM, other image"]) == {0.3}


def test_both_games_show_both_orders():
    columns = ("pixels", "deletion", "deletion_random", "insertion", "insertion_random")
    table = pd.DataFrame(np.arange(10.0).reshape(2, 5), columns=list(columns))
    first, second = deletion_insertion_figure(table).axes
    assert [line.get_ydata().tolist() for line in first.get_lines()] == [[1, 6], [2, 7]]
    assert [line.get_ydata().tolist() for line in second.get_lines()] == [[3, 8], [4, 9]]
