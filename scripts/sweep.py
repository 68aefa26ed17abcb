"""Try parameters on the machines of a Ray cluster; every trial is an experiment of DVC, listed by `dvc exp show`.

    RAY/bin/python scripts/sweep.py .venv/bin/python train.learning_rate=1e-4,1e-3 train.dropout=0.2,0.4

Ray is in an environment of its own (`pip install 'ray[tune]'`); it starts the interpreter named first, in this folder,
which all machines share. All combinations of the values are tried; the last table has their validation losses.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from ray import tune

PROJECT = Path(__file__).resolve().parent.parent
SHOW = "import json, sys, dvc.api; print(json.dumps(dvc.api.metrics_show('metrics/train.json', rev=sys.argv[1])))"


def trial(config: dict[str, str], python: str) -> dict[str, float]:
    """The metrics of the train stage with these parameters, by name."""
    name = f"sweep-{tune.get_context().get_trial_id()}".replace("_", "-")
    changes = [word for change in config.items() for word in ("-S", "=".join(change))]
    command = [python, "-m", "dvc", "--wait-for-lock", "exp", "run", "--temp", "--name", name, *changes, "train"]
    paths = os.pathsep.join([str(Path(python).parent), os.environ["PATH"]])
    subprocess.run(command, cwd=PROJECT, env=os.environ | {"PATH": paths}, check=True)
    found = subprocess.run([python, "-c", SHOW, name], cwd=PROJECT, check=True, stdout=subprocess.PIPE)
    return {key: value for key, value in json.loads(found.stdout).items() if isinstance(value, int | float)}


if __name__ == "__main__":
    if len(sys.argv) < 3 or not all("=" in word for word in sys.argv[2:]):
        sys.exit(__doc__)
    interpreter, grid = str(Path(sys.argv[1]).absolute()), dict(word.split("=", 1) for word in sys.argv[2:])
    space = {name: tune.grid_search(values.split(",")) for name, values in grid.items()}
    start = tune.with_resources(tune.with_parameters(trial, python=interpreter), {"cpu": 1})
    sys.exit(tune.Tuner(start, param_space=space).fit().num_errors > 0)
