"""What every stage does around its work: log, and turn expected errors into one line."""

import functools
import logging
import sys
from collections.abc import Callable

from brain_tumor.errors import UserError


def stage(main: Callable[[], None]) -> Callable[[], None]:
    """Wrap the `main` of a stage.

    An expected error (`UserError`) becomes one line on stderr and exit status 1, Ctrl-C one line and 130; an
    unexpected exception keeps its traceback.
    """

    @functools.wraps(main)
    def run() -> None:
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
        try:
            main()
        except UserError as error:
            sys.exit(f"error: {error}")
        except KeyboardInterrupt:
            print("interrupted: what was finished is kept, `dvc repro` goes on from there", file=sys.stderr)
            sys.exit(130)

    return run
