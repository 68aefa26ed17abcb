import json

from brain_tumor.explanation.summary import headline

SCORES = {
    "outside_head": {"mass": 0.2, "area": 0.3},
}
LOCALIZATION = {"images": 5, "pointing": {"model": 0.9, "centred": 0.25, "shuffled": 0.5}}


def test_headline_is_flat_and_says_how_often_maps_point_at_the_tumour():
    values = headline(SCORES | {"localization": LOCALIZATION})
    assert values == {
        "outside_head": 0.2,
        "pointing": 0.9,
    }
    json.dumps(values, allow_nan=False)


def test_without_outlines_or_right_predictions_nothing_is_said_of_the_tumour():
    for scores in (SCORES, SCORES | {"localization": {"images": 0, "pointing": {}}}):
        assert list(headline(scores)) == ["outside_head"]
