import logging
import os

import numpy as np
import pytest
import torch

from brain_tumor.model import features as module
from brain_tumor.model.features import FeatureCache, front_key, open_cache
from brain_tumor.training.run import build


@pytest.fixture
def classifier(train_params, arrays):
    torch.manual_seed(0)
    return build(train_params.model_copy(update={"trainable": "block5"}), arrays, 0).eval()


@pytest.fixture
def computed(monkeypatch):
    """How many images passed the frozen layers."""
    counts = []
    original = module._front
    monkeypatch.setattr(
        module, "_front", lambda model, images, device: counts.append(len(images)) or original(model, images, device)
    )
    return counts


def age_of_blocks(folder):
    """Times of use a minute apart, in the order in which they are: a test is faster than the clock of a file system."""
    blocks = sorted(folder.glob("*/*.npy"), key=lambda path: path.stat().st_mtime_ns)
    for number, path in enumerate(blocks):
        os.utime(path, (60 * number, 60 * number))


def test_frozen_layers_alone_decide_which_entries_are_used(train_params, arrays, classifier, cache, computed):
    torch.manual_seed(0)
    other_head = build(train_params.model_copy(update={"trainable": "block5", "head": "imagenet"}), arrays, 0)
    for model in (classifier, other_head):
        cache.compute(model, arrays.test.images)
    with torch.no_grad():
        classifier.trunk[28].weight += 1
    cache.compute(classifier, arrays.test.images)
    assert sum(computed) == len(arrays.test)

    with torch.no_grad():
        classifier.trunk[0].bias[0] += 1
    cache.compute(classifier, arrays.test.images)
    assert sum(computed) == 2 * len(arrays.test)


def test_running_statistics_of_frozen_layers_stay_as_they_are(train_params, arrays, cache):
    changes = {"backbone": "vgg16_bn", "head": "pooled", "trainable": "block5"}
    fresh = build(train_params.model_copy(update=changes), arrays, 0)
    before = front_key(fresh)

    features = cache.compute(fresh, arrays.train.images)

    assert front_key(fresh) == before
    expected = fresh.eval().front(torch.from_numpy(arrays.train.images[:4]))
    torch.testing.assert_close(features.gather(np.arange(4)), expected, rtol=1e-2, atol=1e-3)


def test_features_are_the_output_of_the_frozen_layers(classifier, arrays, cache):
    images = arrays.train.images
    with torch.no_grad():
        expected = classifier.front(torch.from_numpy(images))

    features = cache.compute(classifier, images)

    rows = np.array([5, 0, 63])
    torch.testing.assert_close(features.gather(rows), expected[rows], rtol=2e-3, atol=1e-3)
    assert len(features) == len(images)


def test_what_is_known_is_not_computed_again_and_the_log_says_so(classifier, arrays, cache, computed, caplog):
    caplog.set_level(logging.INFO)
    images = arrays.train.images
    first, again, more = (cache.compute(classifier, images[:count]) for count in (40, 40, len(images)))
    said = [record.message for record in caplog.records if record.name == "brain_tumor.model.features"]

    assert sum(computed) == len(images)
    for features in (again, more):
        assert torch.equal(first.gather(np.arange(40)), features.gather(np.arange(40)))
    assert said == [
        f"features: 0 at hand, 40 to compute, kept in {cache.folder}",
        f"features: 40 at hand, {len(images) - 40} to compute, kept in {cache.folder}",
    ]


def test_features_do_not_depend_on_what_was_computed_before(classifier, arrays, tmp_path):
    images = arrays.train.images
    whole = FeatureCache(tmp_path / "whole", 10**9).compute(classifier, images)
    pieces = FeatureCache(tmp_path / "pieces", 10**9)
    for start in range(0, len(images), 7):
        pieces.compute(classifier, images[start : start + 7])

    rows = np.arange(len(images))
    assert torch.equal(pieces.compute(classifier, images).gather(rows), whole.gather(rows))


def test_equal_images_are_computed_once(classifier, arrays, cache, computed):
    twice = np.concatenate([arrays.train.images[:3], arrays.train.images[:3]])

    features = cache.compute(classifier, twice)

    assert sum(computed) == 3
    assert torch.equal(features.gather(np.array([0, 1, 2])), features.gather(np.array([3, 4, 5])))


def test_a_block_without_digests_counts_as_absent(classifier, arrays, cache, computed):
    cache.compute(classifier, arrays.test.images)
    (unfinished,) = cache.folder.rglob("*.digests.npy")
    unfinished.unlink()
    block = next(path for path in cache.folder.rglob("*.npy"))
    block.write_bytes(block.read_bytes()[:200])

    features = cache.compute(classifier, arrays.test.images)

    assert sum(computed) == 2 * len(arrays.test)
    assert torch.isfinite(features.gather(np.arange(len(features)))).all()


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << (place % 8)
    path.write_bytes(content)


SPOIL = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-200]),
    "empty": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
    **{
        f"bit at {share:.0%}": lambda path, share=share: flip(path, int(share * (path.stat().st_size - 1)))
        for share in (0, 0.001, 0.3, 0.7, 1)
    },
}


@pytest.mark.parametrize("spoil", SPOIL.values(), ids=SPOIL.keys())
@pytest.mark.parametrize("digests", [False, True])
def test_what_is_damaged_is_computed_again(classifier, arrays, cache, spoil, digests):
    images = arrays.test.images
    before = cache.compute(classifier, images).gather(np.arange(len(images)))
    (block,) = (path for path in cache.folder.glob("*/*.npy") if path.name.endswith(".digests.npy") == digests)
    spoil(block)

    after = FeatureCache(cache.folder, cache.limit).compute(classifier, images).gather(np.arange(len(images)))

    assert torch.equal(before, after)


def test_an_interrupted_computation_keeps_whole_blocks(classifier, arrays, cache, monkeypatch, computed):
    monkeypatch.setattr(module, "BLOCK", 8)
    original = module._front

    def stop_after_two(model, images, device):
        if sum(computed) >= 16:
            raise KeyboardInterrupt
        return original(model, images, device)

    monkeypatch.setattr(module, "_front", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        cache.compute(classifier, arrays.test.images)
    monkeypatch.setattr(module, "_front", original)

    cache.compute(classifier, arrays.test.images)

    assert sum(computed) == len(arrays.test)


def test_what_was_used_longest_ago_is_dropped(classifier, arrays, tmp_path, computed):
    old, recent, new = arrays.train.images[:8], arrays.train.images[8:16], arrays.train.images[16:24]
    for images in (recent, old, recent):
        FeatureCache(tmp_path, 10**9).compute(classifier, images)
    age_of_blocks(tmp_path)
    size = next(path.stat().st_size for path in tmp_path.glob("*/*.npy") if "digests" not in path.name)
    computed.clear()

    FeatureCache(tmp_path, limit=2 * size).compute(classifier, new)

    assert sum(computed) == 8
    FeatureCache(tmp_path, 10**9).compute(classifier, recent)
    FeatureCache(tmp_path, 10**9).compute(classifier, new)
    assert sum(computed) == 8, "dropped what was used since"
    FeatureCache(tmp_path, 10**9).compute(classifier, old)
    assert sum(computed) == 16


def test_what_a_run_uses_itself_is_never_dropped_but_what_a_killed_run_left(classifier, arrays, tmp_path):
    left = tmp_path / front_key(classifier) / ".abandoned-x.npy"
    left.parent.mkdir()
    left.write_bytes(bytes(1000))

    cache = FeatureCache(tmp_path, limit=1)
    for split in (arrays.train, arrays.validation):
        cache.fill(classifier, split.images)

    assert len(cache.open(classifier, arrays.train.images)) == len(arrays.train)
    assert not left.exists()


def test_without_frozen_layers_features_are_the_pixels(train_params, arrays, cache):
    classifier = build(train_params.model_copy(update={"trainable": "all"}), arrays, 0)

    features = cache.compute(classifier, arrays.test.images)

    assert np.array_equal(features.gather(np.array([2, 1])).numpy(), arrays.test.images[[2, 1]])
    assert not cache.folder.exists()


def test_half_precision_that_overflows_is_refused(classifier, arrays, cache):
    with torch.no_grad():
        classifier.trunk[0].weight *= 1e9

    with pytest.raises(ValueError, match="exceed the range of half precision"):
        cache.compute(classifier, arrays.test.images)


def test_place_and_limit_come_from_the_environment(tmp_path):
    cache = open_cache({"BRAIN_TUMOR_CACHE": str(tmp_path), "BRAIN_TUMOR_CACHE_GB": "0.5"})

    assert cache.folder == tmp_path / "features"
    assert cache.limit == 5 * 10**8


def test_a_temporary_copy_of_the_project_finds_what_the_project_kept(tmp_path, monkeypatch):
    """As `dvc exp run --temp` and queued runs make them."""
    places = set()
    for name in ("project", "project/.dvc/tmp/exps/1"):
        (tmp_path / name).mkdir(parents=True)
        monkeypatch.chdir(tmp_path / name)
        places.add(open_cache({}).folder.absolute())

    assert len(places) == 1
    assert not places.pop().is_relative_to(tmp_path)
