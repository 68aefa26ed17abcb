"""Score the model of the last `dvc repro` with patients, outlines and external data, which the study does without.

    BRAIN_TUMOR_ANNOTATIONS=FOLDER BRAIN_TUMOR_DATA_BR35H=ARCHIVE python scripts/measure.py

Works in a copy below `build/measure`, with the model and the test images of the study. The copy's `plots/` also has
scores of the external test set, predictions with the lesion removed, and scores of the maps against the outlines.
"""

import shutil
import subprocess
import sys

from copied_project import PROJECT, change_parameters, copy_project, environment

from brain_tumor.errors import UserError
from brain_tumor.stage import stage

CHANGES = {
    "download.annotations": "true",
    "download.additional": "[br35h]",
    "augment.per_image": "0",
    "augment.balance": "false",
    "augment.synthetic_tumours": "0",
}
"""Reads what the study does without; makes no augmented images, since nothing is trained."""

FROM_THE_STUDY = ("models/model.safetensors", "plots/history.csv")
STAGES = ("download", "split", "augment", "evaluate", "explain")


@stage
def main() -> None:
    folder = PROJECT / "build" / "measure"
    copy_project(folder)
    change_parameters(folder / "params.yaml", CHANGES)
    for name in FROM_THE_STUDY:
        if not (PROJECT / name).is_file():
            raise UserError(f"{name} is not there: run dvc repro first")
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(PROJECT / name, folder / name)
    for name in STAGES:
        command = [sys.executable, f"stages/{name}.py"]
        if subprocess.run(command, cwd=folder, env=environment(folder), check=False).returncode:
            raise UserError(f"the stage {name} stopped, see above")
    print(f"\nMeasured. The tables are in {folder / 'plots'}")


if __name__ == "__main__":
    main()
