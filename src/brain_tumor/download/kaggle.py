"""Downloads from Kaggle: public data sets need no login."""

import zipfile
from pathlib import Path

from brain_tumor.errors import UserError


def download(handle: str, otherwise: str) -> Path:
    """The folder into which a data set was downloaded, now or before.

    Args:
        handle: `owner/name`, with a version or without.
        otherwise: for the message, what a user can do who has no network.

    Raises:
        UserError: the set cannot be reached or arrives damaged.
    """
    # Imported here because the import alone sets up loggers, and only a download needs the package.
    import kagglehub
    from kagglehub import exceptions

    expected = (  # a failed request is an OSError
        OSError,
        ValueError,
        zipfile.BadZipFile,
        exceptions.BackendError,
        exceptions.CredentialError,
        exceptions.DataCorruptionError,
        exceptions.NotFoundError,
        exceptions.UnauthenticatedError,
    )
    try:
        return Path(kagglehub.dataset_download(handle))
    except expected as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{handle} cannot be downloaded from Kaggle ({type(error).__name__}: {reason}): get online, or {otherwise}"
        ) from None
