"""Pack the images of every split at model size; add changed copies to train, so that its classes are balanced."""

from pathlib import Path

from brain_tumor.data.arrays import INDEX_COLUMNS, write_part, write_reader
from brain_tumor.data.augmentation import augment, sample_of_copies
from brain_tumor.data.catalog import SPLITS, TRAIN, read_split
from brain_tumor.data.images import read_images
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
    with atomic_folder(Path("data/arrays")) as folder:
        for name in SPLITS:
            rows = split[split["split"] == name].reset_index(drop=True)
            index = rows[["path", "class", "group"]].assign(copy=0)
            images = read_images([RAW / path for path in index["path"]], params.augment.image_size, progress(name))
            if name == TRAIN:
                images, index = augment(images, index, params.augment, params.seed)
                save(augmentation_sheet(*sample_of_copies(images, index)), Path("plots/augmentation.png"))
            write_part(folder, name, images, index[list(INDEX_COLUMNS)])
        write_reader(folder, {"image_size": params.augment.image_size, "split_digest": file_digest(SPLIT)})


if __name__ == "__main__":
    main()
