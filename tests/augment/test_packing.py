import numpy as np
import pandas as pd
import pytest
from PIL import Image

from brain_tumor.augment.packing import pack, reader_of
from brain_tumor.data.arrays import open_arrays
from brain_tumor.data.catalog import CLASSES, EXTERNAL, SPLITS, TRAIN, TUMOUR
from brain_tumor.data.images import prepare_images


@pytest.fixture
def split(tmp_path, rng):
    rows = [(f"{name}/{label}.png", label, name) for name in SPLITS for label in CLASSES]
    rows.append(("external/y1.png", TUMOUR, EXTERNAL))
    for path, _, _ in rows:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 50), dtype=np.uint8)).save(tmp_path / path)
    return pd.DataFrame(rows, columns=["path", "class", "split"]).assign(group=[path for path, _, _ in rows])


def test_every_image_is_in_its_split_and_only_train_is_augmented(tmp_path, split, params):
    augment = params.augment.model_copy(update={"image_size": 32, "per_image": 1, "synthetic_tumours": 1})

    pack(tmp_path, split, "0a1b", augment, 3, tmp_path / "arrays")

    arrays = open_arrays(tmp_path / "arrays")
    reader = reader_of(augment)
    assert (arrays.reader, arrays.split_digest) == (reader, "0a1b")
    for name in (*SPLITS, EXTERNAL):
        packed = getattr(arrays, name)
        rows = split[split["split"] == name]
        originals = (packed.index["augmented"] == 0).to_numpy()
        assert packed.index.loc[originals, "path"].tolist() == rows["path"].tolist()
        assert np.array_equal(
            packed.images[originals], prepare_images([tmp_path / path for path in rows["path"]], reader)[0]
        )
        assert originals.all() == (name != TRAIN)


def test_without_external_data_there_is_no_such_split(tmp_path, split, params):
    pack(tmp_path, split[split["split"] != EXTERNAL], "", params.augment, 3, tmp_path / "arrays")

    assert open_arrays(tmp_path / "arrays").external is None
