"""The command `brain-tumor`."""

import argparse
import errno
import importlib
import io
import os
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

    Where what reads the output has had enough, as `head`, it ends without a word with the status of SIGPIPE, 141.

    Args:
        arguments: those after the program's name; by default the process's own.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr: a name that it cannot encode ends no run
    try:
        status = _run(sys.argv[1:] if arguments is None else list(arguments))
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        _discard_output()
        return 141
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        if (line := one_line(error)) is None:
            if error.errno not in (errno.ENOSPC, errno.EIO):
                raise
            _discard_output()
            line = f"the output cannot be written: {error.strerror}: check the disk that it goes to"
        print(f"error: {line}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _discard_output() -> None:
    """Let what is left to write go nowhere: Python would try again when it ends, and fail with a traceback."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
