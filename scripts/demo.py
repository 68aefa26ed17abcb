"""Run the whole pipeline on the built-in phantom set, beside the real study and without touching it.

The pipeline runs in a copy below `build/demo`, with a DVC configuration of its own that needs no git and shares the
project's cache, so a second run takes seconds. Arguments such as `train.epochs=2` change parameters of the demo.
"""

from brain_tumor.stage import stage

import subprocess
import sys

from copied_project import PROJECT, change_parameters, copy_project, environment

from brain_tumor.errors import UserError
from brain_tumor.report.command import write_report

CHANGES = {
    "download.dataset": "phantom",
    "augment.image_size": "128",
    "train.trainable": "block5",
    "train.epochs": "8",
}
"""What differs from the real study: the data, and a recipe that takes two minutes."""


@stage
def main() -> None:
    demo = PROJECT / "build" / "demo"
    copy_project(demo)
    change_parameters(demo / "params.yaml", CHANGES | dict(split_change(argument) for argument in sys.argv[1:]))
    if subprocess.run([sys.executable, "-m", "dvc", "repro"], cwd=demo, env=environment(demo), check=False).returncode:
        raise UserError("the demo's pipeline stopped, see above; run the same command to go on")
    report = demo / "report.html"
    write_report(demo, report)
    print(f"\nThe demo is done. Open {report}")


def split_change(argument: str) -> tuple[str, str]:
    """`train.epochs=2` as a pair."""
    name, sign, value = argument.partition("=")
    if not sign or name.count(".") != 1:
        raise UserError(f"{argument}: expected SECTION.PARAMETER=VALUE, for example train.epochs=2")
    return name, value


if __name__ == "__main__":
    main()
