"""Show what the model looks at: maps of all test images, what they are worth, and pictures of some."""

from brain_tumor.stage import stage

from pathlib import Path

from brain_tumor.data.annotations import read_outlines
from brain_tumor.data.arrays import open_arrays
from brain_tumor.data.catalog import CLASSES
from brain_tumor.explanation.study import study
from brain_tumor.figures.map_scores import deletion_insertion_figure, localization_figure, randomization_figure
from brain_tumor.figures.maps import gradcam_overview, gradcam_picture
from brain_tumor.figures.style import save
from brain_tumor.files import atomic_folder, write_csv, write_json
from brain_tumor.model.classifier import load_classifier
from brain_tumor.model.features import open_cache
from brain_tumor.params import load_params

RAW, ARRAYS, MODEL = Path("data/raw"), Path("data/arrays"), Path("models/model.safetensors")
PLOTS, METRICS = Path("plots"), Path("metrics/explain.json")

FIGURES = {
    "localization": localization_figure,
    "randomization": randomization_figure,
    "deletion_insertion": deletion_insertion_figure,
}
"""What is drawn of the tables of these names."""


@stage
def main() -> None:
    params, test, outlines = load_params(), open_arrays(ARRAYS).test, read_outlines(RAW)
    method, images_per_class = params.explain.method, params.explain.images_per_class
    result = study(load_classifier(MODEL), open_cache(), test, outlines, method, images_per_class, params.seed)

    for name, table in result.tables.items():
        write_csv(PLOTS / f"{name}.csv", table.round(4))
    with atomic_folder(PLOTS / "explain") as folder:
        for name, draw in FIGURES.items():
            save(draw(result.tables[name]), folder / f"{name}.png")
    with atomic_folder(PLOTS / "gradcam") as folder:
        for explanation in result.explanations:
            save(gradcam_picture(explanation), folder / explanation.name)
        save(gradcam_overview(result.explanations, CLASSES), folder / "overview.png")
    write_json(METRICS, result.headline)


if __name__ == "__main__":
    main()
