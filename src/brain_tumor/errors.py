"""The one exception for what a user can mend, and what to say of others."""

import os


class UserError(Exception):
    """Something in the user's hands is wrong: a file, a parameter, a missing data set.

    The message is one line that names the file, field or parameter and says what to do. Programs show it without a
    traceback and exit with status 1; every other exception is a defect and keeps its traceback.
    """

    def __str__(self) -> str:
        """The message, `printable`: names of files can hold anything."""
        return printable(super().__str__())


def one_line(error: OSError) -> str | None:
    """What to say of a file that the system does not give; None for an error that names no file: a defect."""
    if error.filename is None:
        return None
    return f"{printable(os.fsdecode(error.filename))}: {error.strerror}: check the path, its permissions and the disk"


def printable(text: str) -> str:
    """Text that neither breaks a line nor reaches a terminal's controls: what is no printable sign is escaped."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
