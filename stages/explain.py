"""Show what the model looks at: Grad-CAM of right and wrong predictions on test images."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from brain_tumor.data.arrays import open_arrays
from brain_tumor.data.catalog import CLASSES
from brain_tumor.explanation.gradcam import Maps, grad_cam
from brain_tumor.explanation.overlays import choose
from brain_tumor.explanation.sample import explain, summary
from brain_tumor.files import atomic_folder, write_json
from brain_tumor.model.classifier import load_classifier
from brain_tumor.model.predict import predict
from brain_tumor.params import load_params
from brain_tumor.plots import gradcam_overview, gradcam_picture, save
from brain_tumor.stage import stage
from brain_tumor.training.features import open_cache


@stage
def main() -> None:
    params = load_params()
    test = open_arrays(Path("data/arrays")).test
    classifier = load_classifier(Path("models/model.safetensors"))
    features = open_cache().compute(classifier, test.images)
    probabilities = predict(classifier, features)

    def maps_of(rows: NDArray[np.int64], targets: NDArray[np.int64]) -> Maps:
        batch = features.gather(rows)
        return grad_cam(classifier.activations, classifier.classify, batch, torch.from_numpy(targets.copy()))

    paths = test.index["path"].tolist()
    choices = choose(paths, test.labels, probabilities.argmax(axis=1), CLASSES, params.explain.images_per_class)
    explanations = explain(choices, test.images, probabilities, CLASSES, maps_of)
    with atomic_folder(Path("plots/gradcam")) as folder:
        for explanation in explanations:
            save(gradcam_picture(explanation), folder / explanation.name)
        save(gradcam_overview(explanations, CLASSES), folder / "overview.png")
    write_json(Path("metrics/explain.json"), summary(explanations))


if __name__ == "__main__":
    main()
