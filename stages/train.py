"""Train the classifier, keep the epoch with the best validation loss, and calibrate it."""

from pathlib import Path

from brain_tumor.data.arrays import open_arrays
from brain_tumor.files import atomic_file, write_json
from brain_tumor.model.features import cache_folder, open_cache
from brain_tumor.params import load_params
from brain_tumor.stage import stage
from brain_tumor.training.calibrate import calibrate
from brain_tumor.training.devices import Devices
from brain_tumor.training.run import fit


@stage
def main() -> None:
    params = load_params()
    arrays = open_arrays(Path("data/arrays"))
    result = fit(arrays, params.train, params.seed, open_cache(), cache_folder(), Devices.from_arguments())
    if not result.first:
        return
    accuracy = calibrate(result.classifier, arrays.validation, params.train, open_cache())
    result.classifier.save(Path("models/model.safetensors"))
    with atomic_file(Path("plots/history.csv")) as temporary:
        result.history.to_csv(temporary, index=False)
    write_json(Path("metrics/train.json"), {"validation_accuracy": accuracy})
    result.checkpoint.remove()


if __name__ == "__main__":
    main()
