from dataclasses import replace

import numpy as np
import pytest
from serving.tiny import write_tiny_model

from brain_tumor.data.formats.pixels import Picture
from brain_tumor.serving.predictor import Predictor

FLAT = Picture(np.full((32, 32), 51, np.uint8), frame=0)
ODD = Picture((np.indices((32, 32)).sum(axis=0) % 2 * 255).astype(np.uint8), frame=1)
COMPUTED = replace(FLAT, reason="modality CT", frame=2)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    return Predictor(write_tiny_model(tmp_path_factory.mktemp("tiny") / "model.onnx"))


def test_what_is_out_of_distribution_says_why(predictor):
    flat, odd, computed = predictor.predict([FLAT, ODD, COMPUTED])
    assert flat.in_distribution
    assert flat.ood_reason is None
    assert odd.ood_reason == "its features are 1.67 times as far away as is allowed"
    assert computed.ood_reason == "its header says modality CT"


def test_a_volume_is_the_mean_over_slices_in_distribution_and_says_why_where_none_is(predictor):
    flat, odd, computed = predictor.predict([FLAT, ODD, COMPUTED])

    (volume,) = predictor.volumes([odd, flat, computed])
    assert volume.probabilities == flat.probabilities
    assert volume.ood_reason is None

    (volume,) = predictor.volumes([odd, computed])
    assert volume.ood_reason == f"none of its 2 slices is: {odd.ood_reason}"
    means = [
        np.mean(values) for values in zip(odd.probabilities.values(), computed.probabilities.values(), strict=True)
    ]
    assert list(volume.probabilities.values()) == pytest.approx(means)


def test_each_of_several_volumes_has_its_answer_and_one_of_a_slice_has_none(predictor):
    pictures = [replace(picture, volume=volume) for volume in (0, 1) for picture in (FLAT, ODD)]
    flat, odd, *others = predictor.predict(pictures)

    volumes = predictor.volumes([flat, odd, *others])

    assert [volume.volume for volume in volumes] == [0, 1]
    assert [volume.probabilities for volume in volumes] == [flat.probabilities] * 2
    assert predictor.volumes([flat, others[1]]) == []


def test_a_distance_that_is_no_number_is_out_of_distribution(predictor, monkeypatch):
    run = predictor.engine.run
    monkeypatch.setattr(
        predictor.engine, "run", lambda images: replace(run(images), ood_distances=np.full(len(images), np.nan))
    )
    (answer,) = predictor.predict([FLAT])
    assert not answer.in_distribution
    assert "nan times" in answer.ood_reason
