"""Train the classifier, keep the epoch with the lowest validation loss, and calibrate it."""

from brain_tumor.stage import stage

from pathlib import Path

from brain_tumor.data.arrays import open_arrays
from brain_tumor.files import cache_folder, write_csv, write_json
from brain_tumor.model.features import open_cache
from brain_tumor.params import load_params
from brain_tumor.training.calibrate import calibrate, calibrate_volumes
from brain_tumor.training.devices import devices_of
from brain_tumor.training.run import fit


@stage
def main() -> None:
    params, arrays, cache = load_params(), open_arrays(Path("data/arrays")), open_cache()
    result = fit(arrays, params.train, params.seed, cache, cache_folder(), devices_of())
    if not result.first:
        return
    classifier = result.classifier
    accuracy = calibrate(classifier, arrays.validation, params.train, cache)
    calibrate_volumes(classifier, arrays.train)
    classifier.save(Path("models/model.safetensors"))
    write_csv(Path("plots/history.csv"), result.history)
    # `validation_accuracy` is that of the best epoch in training, before calibration.
    scores = result.best_epoch | {"calibrated_validation_accuracy": round(accuracy, 4)}
    write_json(Path("metrics/train.json"), scores | {"precision": classifier.description.precision})
    result.forget()


if __name__ == "__main__":
    main()
