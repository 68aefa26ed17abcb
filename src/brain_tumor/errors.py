"""The one exception for what a user can mend."""


class UserError(Exception):
    """Something in the user's hands is wrong: a file, a parameter, a missing data set.

    The message is one line that names the file, field or parameter and says what to do. Programs show it without a
    traceback and exit with status 1; every other exception is a defect and keeps its traceback.
    """
