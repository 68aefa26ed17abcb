"""Pack the images of every split at model size; add changed copies to train, so that its classes are balanced."""

from pathlib import Path

import pandas as pd

from brain_tumor.data.arrays import INDEX_COLUMNS, write_origin, write_part
from brain_tumor.data.augmentation import augment, sample_of_copies
from brain_tumor.data.catalog import NEW_SOURCES, SPLITS, TRAIN, read_split
from brain_tumor.data.images import Reader, prepare_images
from brain_tumor.files import atomic_folder, file_digest
from brain_tumor.params import load_params
from brain_tumor.plots import augmentation_sheet, save
from brain_tumor.progress import progress
from brain_tumor.stage import stage

RAW = Path("data/raw")
SPLIT = Path("data/split.csv")


@stage
def main() -> None:
    params = load_params()
    split = read_split(SPLIT)
    reader = Reader(size=params.augment.image_size, crop=params.augment.crop, intensities=params.augment.intensities)
    with atomic_folder(Path("data/arrays")) as folder:
        for name in [*SPLITS, *{NEW_SOURCES}.intersection(split["split"])]:
            rows = split[split["split"] == name].reset_index(drop=True)
            images, frames = prepare_images([RAW / path for path in rows["path"]], reader, progress(name))
            index = rows[["path", "class", "group"]].assign(copy=0).join(pd.DataFrame(frames))
            if name == TRAIN:
                images, index = augment(images, index, params.augment, params.seed)
                save(augmentation_sheet(*sample_of_copies(images, index)), Path("plots/augmentation.png"))
            write_part(folder, name, images, index[list(INDEX_COLUMNS)])
        write_origin(folder, reader, file_digest(SPLIT))


if __name__ == "__main__":
    main()
