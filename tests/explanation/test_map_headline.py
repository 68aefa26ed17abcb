import json

from brain_tumor.explanation.summary import headline

SCORES = {
    "outside_head": {"mass": 0.2, "area": 0.3},
    "randomization": {"ssim": {"all_random": 0.25, "other_image": 0.4}, "rank_correlation": {"all_random": 0.1}},
    "deletion": {"model": 0.3, "random": 0.45},
    "insertion": {"model": 0.6, "random": 0.4},
}
LOCALIZATION = {"images": 5, "pointing": {"model": 0.9, "centred": 0.25, "shuffled": 0.5}}


def test_headline_is_flat_and_good_maps_have_positive_gains():
    values = headline(SCORES | {"localization": LOCALIZATION})
    assert values == {
        "pointing": 0.9,
        "pointing_baseline": 0.5,
        "outside_head": 0.2,
        "random_weights_ssim": 0.25,
        "deletion_gain": 0.15,
        "insertion_gain": 0.2,
    }
    json.dumps(values, allow_nan=False)


def test_without_outlines_or_right_predictions_nothing_is_said_of_the_tumour():
    for scores in (SCORES, SCORES | {"localization": {"images": 0, "pointing": {}}}):
        assert list(headline(scores)) == ["outside_head", "random_weights_ssim", "deletion_gain", "insertion_gain"]
