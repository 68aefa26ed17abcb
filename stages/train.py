"""Train the classifier and keep the epoch with the best validation loss."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brain_tumor.data.arrays import open_arrays
from brain_tumor.evaluation.calibration import calibrated, fit_temperature
from brain_tumor.evaluation.prediction_sets import COVERAGES, class_thresholds
from brain_tumor.files import atomic_file, write_json
from brain_tumor.model.classifier import Description
from brain_tumor.params import load_params
from brain_tumor.stage import stage
from brain_tumor.training.devices import Devices
from brain_tumor.training.features import cache_folder, open_cache
from brain_tumor.training.run import Result, fit


@stage
def main() -> None:
    params = load_params()
    arrays = open_arrays(Path("data/arrays"))
    result = fit(arrays, params.train, params.seed, open_cache(), cache_folder(), Devices.from_arguments())
    if not result.first:
        return
    result.classifier.description = calibrate(result, arrays.validation.labels)
    result.classifier.save(Path("models/model.safetensors"))
    with atomic_file(Path("plots/history.csv")) as temporary:
        result.history.to_csv(temporary, index=False)
    write_json(Path("metrics/train.json"), result.summary)
    result.checkpoint.remove()


def calibrate(result: Result, labels: NDArray[np.int64]) -> Description:
    """The model's description with its temperature and prediction sets, both from the validation images."""
    temperature = fit_temperature(result.validation_logits, labels)
    probabilities = calibrated(result.validation_logits, temperature)
    sets = {f"{coverage:g}": tuple(class_thresholds(probabilities, labels, coverage)) for coverage in COVERAGES}
    changes = {"temperature": temperature, "prediction_sets": sets}
    return result.classifier.description.model_copy(update=changes)


if __name__ == "__main__":
    main()
