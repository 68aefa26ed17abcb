"""Pictures of a file as a model takes them. Whatever goes wrong is one line about the file."""

from collections.abc import Iterable
from dataclasses import replace

from brain_tumor.data.formats.pixels import Picture, one_line
from brain_tumor.data.images import Reader
from brain_tumor.errors import UserError


def read(reader: Reader, name: str, pictures: Iterable[Picture]) -> list[Picture]:
    """All pictures of a file, prepared; may be called by many threads at a time.

    Args:
        reader: of the model.
        name: of the file, for messages.
        pictures: decoded one at a time.

    Raises:
        UserError: a picture cannot be decoded, or the reader can make nothing of a picture.
    """
    try:
        return [prepared(reader, picture) for picture in pictures]
    except UserError:
        raise
    # OpenCV and Pillow raise errors of many kinds for odd shapes, and memory can run out anywhere.
    except Exception as error:
        reason = one_line(str(error)) or type(error).__name__
        raise UserError(f"{name} cannot be prepared ({reason}): replace or remove it") from None


def prepared(reader: Reader, picture: Picture) -> Picture:
    """A picture as the model takes it: grey values (size, size)."""
    return replace(picture, grey=reader.prepare(picture.grey)[0])
