"""From the bytes of a file to pictures as a model takes them. Whatever goes wrong is one line about the file."""

from dataclasses import replace

from brain_tumor.data.images import Reader
from brain_tumor.errors import UserError
from brain_tumor.serving.inputs import MAX_BYTES, Picture, pictures


def read(reader: Reader, name: str, content: bytes | bytearray, most: int = MAX_BYTES) -> list[Picture]:
    """All pictures of a file, prepared; may be called by many threads at a time.

    Args:
        reader: of the model.
        name: of the file, for messages.
        content: its bytes.
        most: as `pictures` takes it.

    Raises:
        UserError: as `pictures`, or the reader can make nothing of a picture.
    """
    try:
        return [prepared(reader, picture) for picture in pictures(name, content, most)]
    except UserError:
        raise
    # OpenCV and Pillow raise errors of many kinds for odd shapes, and memory can run out anywhere.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{name} cannot be prepared ({reason}): replace or remove it") from None


def prepared(reader: Reader, picture: Picture) -> Picture:
    """A picture as the model takes it: grey values (size, size)."""
    return replace(picture, grey=reader.prepare(picture.grey)[0])
