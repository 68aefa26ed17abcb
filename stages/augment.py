"""Pack the images of every split at model size, train augmented, so that its classes are balanced."""

from brain_tumor.stage import stage

from pathlib import Path

from brain_tumor.augment.packing import pack
from brain_tumor.augment.policy import sample_of_augmented
from brain_tumor.data.arrays import open_arrays
from brain_tumor.data.catalog import read_split
from brain_tumor.figures.sheets import augmentation_sheet
from brain_tumor.figures.style import save
from brain_tumor.files import atomic_folder, file_digest
from brain_tumor.params import load_params
from brain_tumor.progress import progress

SPLIT = Path("data/split.csv")


@stage
def main() -> None:
    params = load_params()
    split = read_split(SPLIT)
    with atomic_folder(Path("data/arrays")) as folder:
        pack(Path("data/raw"), split, file_digest(SPLIT), params.augment, params.seed, folder, progress)
        train = open_arrays(folder).train
        save(augmentation_sheet(*sample_of_augmented(train.images, train.index)), Path("plots/augmentation.png"))


if __name__ == "__main__":
    main()
