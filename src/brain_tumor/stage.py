"""What every stage does around its work: log, and turn expected errors and interruptions into one line.

Stages import it before all else, so that Ctrl-C while they import the rest is one line, too.
"""

import atexit
import contextlib
import functools
import logging
import os
import signal
import sys
from collections.abc import Callable
from types import TracebackType

from brain_tumor.errors import UserError, one_line

INTERRUPTED = "interrupted: what was finished is kept, `dvc repro` goes on from there"


def stage(main: Callable[[], None]) -> Callable[[], None]:
    """Wrap the `main` of a stage.

    An expected error (`UserError`, and a file that the system does not give) becomes one line on stderr and exit
    status 1; Ctrl-C and SIGTERM, as a batch system sends it, one line and 130 or 143. An unexpected exception keeps its
    traceback.
    """

    @functools.wraps(main)
    def run() -> None:
        logging.basicConfig(format="%(message)s", stream=sys.stderr)
        for name in ("brain_tumor", main.__module__):  # libraries tell of every request that they make
            logging.getLogger(name).setLevel(logging.INFO)
        numbers = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN]
        before = {number: signal.signal(number, _stop) for number in numbers}
        try:
            main()
        except UserError as error:
            sys.exit(f"error: {error}")
        except OSError as error:
            if (line := one_line(error)) is None:
                raise
            sys.exit(f"error: {line}")
        else:
            atexit.register(_ignore)  # what libraries clear up at the end takes a second, and the work is done
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    return run


def _stop(number: int, _: object) -> None:
    """End in order; a second signal ends at once."""
    signal.signal(number, signal.SIG_DFL)
    _say_interrupted()
    sys.exit(128 + number)


def _say_interrupted() -> None:
    with contextlib.suppress(OSError):  # nobody reads it any more
        if sys.stderr:  # None where it was closed at the start
            os.write(sys.stderr.fileno(), f"{INTERRUPTED}\n".encode())  # `print` may be what was interrupted


def _ignore() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _show(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        _say_interrupted()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)  # some libraries, once imported, make it status 1
    else:
        sys.__excepthook__(kind, error, traceback)


sys.excepthook = _show  # Ctrl-C before `run`
