"""The command `brain-tumor`."""

import argparse
import importlib
import io
import sys
from collections.abc import Sequence

import brain_tumor
from brain_tumor.errors import UserError, one_line

COMMANDS = {
    "report": ("brain_tumor.report.command", "write one HTML file from metrics and plots"),
    "audit": (
        "brain_tumor.audit.command",
        "find duplicates between the training and test folders of any data set",
    ),
    "predict": ("brain_tumor.serving.predict", "predict the class of pictures: JPEG, PNG, TIFF, DICOM, NIfTI"),
    "evaluate": ("brain_tumor.serving.evaluate", "score a model on a folder of pictures with a folder per class"),
    "serve": ("brain_tumor.serving.web", "a web page and a JSON API on this machine"),
    "export": ("brain_tumor.serving.export", "write a trained model as ONNX, which needs no torch"),
}
"""For each command the module with its `add_arguments(parser)` and `run(args) -> int`, and what it does."""

EXTRAS = {"evaluate": "evaluate", "serve": "page"}
"""For each command what it is installed with, where that is not the base package or `pipeline`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status; an expected error is one line on stderr and 1, Ctrl-C 130.

    Args:
        arguments: those after the program's name; by default the process's own.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr: a name that it cannot encode ends no run
    try:
        return _run(sys.argv[1:] if arguments is None else list(arguments))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        if (line := one_line(error)) is None:
            raise
        print(f"error: {line}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _run(given: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="brain-tumor", description=brain_tumor.__doc__)
    parser.add_argument("--version", action="version", version=f"%(prog)s {brain_tumor.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module, description) in COMMANDS.items():
        command = commands.add_parser(name, help=description, description=description)
        if name in given[:1]:  # the module of the command that runs, and no other, so that each starts fast
            try:
                implementation = importlib.import_module(module)
            except ModuleNotFoundError as error:
                if (error.name or "").startswith("brain_tumor"):
                    raise
                raise UserError(f"{name} needs {error.name}: pip install '.[{EXTRAS.get(name, 'pipeline')}]'") from None
            implementation.add_arguments(command)
            command.set_defaults(run=implementation.run)
    parsed = parser.parse_args(given)
    return int(parsed.run(parsed))
