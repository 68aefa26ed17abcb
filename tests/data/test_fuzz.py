"""Damaged files and files made to take memory or time: pictures or one line, and nothing on stderr.

Each test runs in a process of its own, so that what libraries write to stderr, and the peak of memory, are seen.
"""

import gzip
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
from made import dicom, nifti, raster
from PIL import Image
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

from brain_tumor.data.formats.decoding import pictures
from brain_tumor.data.images import Reader
from brain_tumor.errors import UserError


def seeds():
    """A healthy file of each kind."""
    smooth = np.asarray(Image.effect_noise((6, 5), 90).resize((50, 40), Image.Resampling.BICUBIC))
    wide = smooth.astype(np.uint16) * 200
    volume = np.stack([wide] * 5, axis=2).astype(np.int16)
    return {
        "JPEG": raster("JPEG", smooth),
        "progressive JPEG": raster("JPEG", np.stack([smooth] * 3, axis=2), progressive=True),
        "PNG": raster("PNG", smooth),
        "16-bit PNG": raster("PNG", wide),
        "TIFF": raster("TIFF", [smooth, smooth]),
        "packed TIFF": raster("TIFF", wide, compression="tiff_lzw"),
        "JPEG in TIFF": raster("TIFF", smooth, compression="jpeg"),
        "BMP": raster("BMP", smooth),
        "WebP": raster("WEBP", smooth),
        "DICOM": dicom(np.stack([wide, wide[::-1]]), WindowCenter=20000, WindowWidth=40000, PixelPaddingValue=0),
        "RLE": dicom(smooth, RLELossless, [rle(smooth)]),
        "JPEG in DICOM": dicom(smooth, JPEGBaseline8Bit, [raster("JPEG", smooth)]),
        "JPEG 2000 in DICOM": dicom(wide, JPEG2000Lossless, [raster("JPEG2000", wide, no_jp2=True)]),
        "deflated DICOM": deflated(split_meta(dicom(wide))[1]),
        "DICOM without preamble": dicom(wide)[132:],
        "NIfTI": nifti(volume, (1, 1, 4)),
        "NIfTI.gz": nifti(volume, (1, 1, 4), compressed=True),
    }


def rle(values):
    """One frame of 8 bits, run-length coded as literals."""
    packed = b"".join(bytes([len(row) - 1]) + row.tobytes() for row in values)
    return struct.pack("<16I", 1, 64, *[0] * 14) + packed + b"\0" * (len(packed) % 2)


def split_meta(content):
    """What comes before the data set of a DICOM file, and the data set."""
    start = 144 + int.from_bytes(content[140:144], "little")
    return content[:start], content[start:]


def deflated(*pieces):
    """A deflated DICOM file of a data set."""
    meta, _ = split_meta(dicom(np.zeros((2, 2), np.uint16), DeflatedExplicitVRLittleEndian))
    pack = zlib.compressobj(9, zlib.DEFLATED, -15)
    return meta + b"".join(map(pack.compress, pieces)) + pack.flush()


def mutations(content, rng, count):
    """Copies that are cut off, have bytes changed, missing, repeated, or numbers made large."""
    for number in range(count):
        changed = bytearray(content)
        place = int(rng.integers(0, min(len(content), 600) if number % 3 else len(content)))
        match number % 5:
            case 0:
                del changed[place:]
            case 1:
                for position in rng.integers(0, len(content), 8):
                    changed[position] = rng.integers(0, 256)
            case 2:
                del changed[place : place + int(rng.integers(1, 64))]
            case 3:
                changed[place : place + 4] = rng.choice([b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", b"\0\0\0\0"])
            case 4:
                changed[place:place] = changed[place : place + int(rng.integers(1, 200))]
        yield bytes(changed)


def read_damaged(form, count):
    """Read mutations of a file, and assert what holds for each."""
    reader = Reader(size=32, crop="head", intensities="head", background="black")
    rng = np.random.default_rng(len(form))
    refused: list[str] = []
    slowest = 0.0
    for changed in mutations(seeds()[form], rng, count):
        start = time.process_time()
        try:
            for picture in pictures("file", changed):
                assert picture.grey.dtype == np.uint8
                assert reader.prepare(picture.grey)[0].shape == (32, 32)
        except UserError as error:
            refused.append(str(error))
        slowest = max(slowest, time.process_time() - start)
    assert len(refused) >= count // 20
    for message in refused:
        assert message.startswith("file"), message
        assert message.isprintable(), message
    assert slowest < 2, slowest


def in_a_process(code, content=b""):
    """Run a line of this module; seconds of the processor, and bytes of memory beyond those of the imports.

    Asserts that nothing is on stderr.
    """
    program = f"""
import resource, sys
sys.path[:0] = {sys.path!r}
import test_fuzz
before = resource.getrusage(resource.RUSAGE_SELF)
{code}
after = resource.getrusage(resource.RUSAGE_SELF)
print(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1024 * (after.ru_maxrss - before.ru_maxrss))
"""
    done = subprocess.run([sys.executable, "-c", program], input=content, capture_output=True, check=False)
    assert done.stderr.decode() == ""
    assert done.returncode == 0
    *lines, measured = done.stdout.decode().splitlines()
    return lines, *map(float, measured.split())


@pytest.mark.parametrize("count", [100, pytest.param(1200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("form", seeds())
def test_damaged_files_give_pictures_or_one_line(form, count):
    _, _, memory = in_a_process(f"test_fuzz.read_damaged({form!r}, {count})")

    assert memory < 1e9


def tell():
    """Read stdin, and print how many pictures it has or why it has none."""
    try:
        print(sum(1 for _ in pictures("file", sys.stdin.buffer.read())))
    except UserError as error:
        print(error)


ZEROS = bytes(2**24)


def chunks():
    content = raster("PNG", np.zeros((10, 10), np.uint8))
    empty = struct.pack(">I4sI", 0, b"abCd", zlib.crc32(b"abCd"))
    return content[:33] + empty * 4_000_000 + content[33:]


def scans(side, count):
    content = raster("JPEG", np.zeros((side, side), np.uint8), progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * count + b"\xff\xd9"


def exif_segments():
    content = raster("JPEG", np.zeros((64, 64), np.uint8))
    return content[:2] + (b"\xff\xe1\xff\xffExif\0\0" + bytes(65_527)) * 2000 + content[2:]


def runs(length):
    frame = struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\0" * (length // 2)
    return dicom(np.zeros((10, 10), np.uint8), RLELossless, [frame])


def larger_stream(form, syntax, side):
    return dicom(np.zeros((10, 10), np.uint8), syntax, [raster(form, np.zeros((side, side), np.uint8))])


def with_elements(many):
    """DICOM with more before the pixels."""
    meta, body = split_meta(dicom(np.zeros((10, 10), np.uint16)))
    place = body.index(b"\x28\0\x02\0US")
    return meta + body[:place] + many + body[place:]


def private(count):
    return b"".join(struct.pack("<HH2sH", 9 + 2 * (n >> 16), n & 0xFFFF, b"LO", 0) for n in range(count))


def items(count):
    start = b"\x18\0\x11\x91SQ\0\0\xff\xff\xff\xff"
    return start + b"\xfe\xff\0\xe0\0\0\0\0" * count + b"\xfe\xff\xdd\xe0\0\0\0\0"


def fragments():
    content = dicom(np.zeros((10, 10), np.uint8), JPEGBaseline8Bit, [b"\xff\xd8\xff\xd9"])
    end = content.rindex(b"\xfe\xff\xdd\xe0")
    return content[:end] + b"\xfe\xff\0\xe0\0\0\0\0" * 8_000_000 + content[end:]


def volume(*spacings):
    head = bytearray(nifti(np.zeros((2, 2, 2), np.int16), spacings)[:352])
    struct.pack_into("<8h", head, 40, 3, 512, 512, 500, 1, 1, 1, 1)
    struct.pack_into("<2f", head, 112, 1.5, -3)
    pack = zlib.compressobj(1, wbits=31)
    return pack.compress(bytes(head)) + b"".join(pack.compress(bytes(2**19)) for _ in range(500)) + pack.flush()


def tiff(*entries, more=b""):
    """A TIFF file of 10 x 10 pixels with these entries: tag, kind, count, value."""
    usual = [(256, 3, 1, 10), (257, 3, 1, 10), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (277, 3, 1, 1)]
    table = sorted({entry[0]: entry for entry in (*usual, *entries)}.values())
    packed = b"".join(struct.pack("<HHII", *entry) for entry in table)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(table)) + packed + bytes(400) + more


BOMBS = {
    "4 million chunks": (chunks, "chunks"),
    "100 scans": (lambda: scans(64, 100), "scans"),
    "40 scans of many pixels": (lambda: scans(5000, 40), "scans"),
    "EXIF in 2,000 segments": (exif_segments, "segments"),
    "a large tile": (lambda: tiff((322, 4, 1, 40_000), (323, 4, 1, 40_000), (324, 4, 1, 200), (325, 4, 1, 9)), "tile"),
    "a tag of many values": (lambda: tiff((258, 3, 10**8, 200), more=b"\x08\0" * 10**8), "tag 258"),
    "many large pages": (lambda: raster("TIFF", [np.zeros((8000, 8000), bool)] * 3, compression="group4"), "at most"),
    "runs": (lambda: runs(60_000_000), "RLE Lossless"),
    "fewer runs": (lambda: runs(8_000_000), "RLE Lossless"),
    "a larger JPEG": (lambda: larger_stream("JPEG", JPEGBaseline8Bit, 20_000), "the header is damaged"),
    "a larger JPEG 2000": (lambda: larger_stream("JPEG2000", JPEG2000Lossless, 6000), "the header is damaged"),
    "deflated": (lambda: deflated(split_meta(dicom(np.zeros((9, 9), np.uint16)))[1], *[ZEROS] * 180), "once unpacked"),
    "two large frames": (lambda: dicom(np.zeros((2, 8000, 8000), np.uint16)), "at most"),
    "elements": (lambda: with_elements(private(900_000)), "elements"),
    "items": (lambda: with_elements(items(5_000_000)), "cannot be read"),
    "fragments": (fragments, "damaged"),
    "a scaled volume": (lambda: volume(1, 1, 1), "500"),
    "long voxels": (lambda: volume(1, 90, 91), "check the header"),
    "gzipped zeros": (lambda: gzip.compress(nifti(np.zeros((4, 4, 4)))[:352] + ZEROS * 40, 1), "once unpacked"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("make", "outcome"), BOMBS.values(), ids=BOMBS.keys())
def test_no_file_takes_more_than_a_gigabyte_or_five_seconds(make, outcome):
    content = make()

    (told,), seconds, memory = in_a_process("test_fuzz.tell()", content)

    assert outcome in told
    assert told.isprintable()
    assert seconds < 5
    assert memory < 1e9


WIDEST = {
    "JPEG": lambda pixels: raster("JPEG", np.stack([pixels] * 3, axis=2), progressive=True, subsampling=0),
    "PNG": lambda pixels: raster("PNG", np.stack([pixels] * 4, axis=2), compress_level=1),
    "16-bit PNG": lambda pixels: raster("PNG", pixels.astype(np.uint16), compress_level=1),
    "float TIFF": lambda pixels: raster("TIFF", pixels.astype(np.float32), compression="tiff_lzw"),
    "WebP": lambda pixels: raster("WEBP", np.stack([pixels] * 3, axis=2), lossless=True, method=0),
    "DICOM": lambda pixels: dicom(pixels.astype(np.uint16)),
    "DICOM in colour": lambda pixels: dicom(np.stack([pixels[::2, ::2]] * 3, axis=2)),
    "JPEG 2000 in DICOM": lambda pixels: dicom(pixels, JPEG2000Lossless, [raster("JPEG2000", pixels, no_jp2=True)]),
}


@pytest.mark.slow
@pytest.mark.parametrize("make", WIDEST.values(), ids=WIDEST.keys())
def test_a_picture_of_36_million_pixels_is_read_within_a_gigabyte_or_refused(make):
    content = make(np.zeros((6000, 6000), np.uint8))

    (told,), _, memory = in_a_process("test_fuzz.tell()", content)

    assert told == "1" or "at most" in told
    assert memory < 1e9
