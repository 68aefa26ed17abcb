"""What every stage does around its work: log, and turn expected errors into one line."""

import functools
import logging
import sys
from collections.abc import Callable

from brain_tumor.errors import UserError, one_line


def stage(main: Callable[[], None]) -> Callable[[], None]:
    """Wrap the `main` of a stage.

    An expected error (`UserError`, and a file that the system does not give) becomes one line on stderr and exit
    status 1, Ctrl-C one line and 130; an unexpected exception keeps its traceback.
    """

    @functools.wraps(main)
    def run() -> None:
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
        try:
            main()
        except UserError as error:
            sys.exit(f"error: {error}")
        except OSError as error:
            if (line := one_line(error)) is None:
                raise
            sys.exit(f"error: {line}")
        except KeyboardInterrupt:
            print("interrupted: what was finished is kept, `dvc repro` goes on from there", file=sys.stderr)
            sys.exit(130)

    return run
