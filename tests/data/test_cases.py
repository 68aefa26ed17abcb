"""One picture in every way that scanners, archives and people write it, and files that are none."""

import gzip
import io
import os
import struct
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from made import dicom, nifti, raster
from PIL import Image
from pydicom.data import get_testdata_file, get_testdata_files
from pydicom.sequence import Sequence
from pydicom.uid import (
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    RLELossless,
)

from brain_tumor.data.formats.decoding import is_picture, pictures
from brain_tumor.data.images import Reader, read_image
from brain_tumor.errors import UserError


def made_values():
    """A head of 12 bits, 96 high and 80 wide, on black."""
    y, x = np.mgrid[:96, :80]
    inside = ((y - 48) / 40) ** 2 + ((x - 40) / 32) ** 2 < 1
    return np.where(inside, 700 + 20 * y + 17 * x + 300 * np.sin(x / 5), 0).astype(np.uint16)


DAMAGED = {"badVR", "JPEG2000-embedded-sequence-delimiter", "JPEG-lossy", "MR_truncated"}
"""Files of pydicom that its pixel_array does not read either."""

VALUES = made_values()
PLAIN = dicom(VALUES, BitsStored=12, HighBit=11)


def read(content):
    return list(pictures("file", content))


def grey(content):
    (picture,) = read(content)
    return picture.grey


def error_of(content, name="file"):
    with pytest.raises(UserError) as error:
        list(pictures(name, content))
    message = str(error.value)
    assert message.startswith("file")
    assert message.isprintable()
    return message


def rewritten(content, syntax):
    """The file in another transfer syntax."""
    data = pydicom.dcmread(io.BytesIO(content))
    if syntax == RLELossless:
        data.compress(syntax)
    else:
        data.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    data.save_as(buffer, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True)
    return buffer.getvalue()


def jpeg2000(values):
    return raster("JPEG2000", values, irreversible=False, no_jp2=True)


def palette():
    """8 bits through a palette whose order is turned round, as 16 bits."""
    eight = grey(PLAIN)
    table = (np.arange(256, dtype="<u2")[::-1] * 257).tobytes()
    colours = ("Red", "Green", "Blue")
    return dicom(
        255 - eight,
        PhotometricInterpretation="PALETTE COLOR",
        **{f"{colour}PaletteColorLookupTableDescriptor": [256, 0, 16] for colour in colours},
        **{f"{colour}PaletteColorLookupTableData": table for colour in colours},
    )


def lookup(first, outputs, bits):
    item = pydicom.Dataset()
    item.LUTDescriptor, item.LUTData = [len(outputs), first, bits], outputs.astype("<u2").tobytes()
    item["LUTData"].VR = "OW"
    return Sequence([item])


def tagged(content, tag, value):
    """A TIFF file with another value of a tag that it has once, as a short number."""
    place = content.index(struct.pack("<HH", tag, 3))
    return content[: place + 8] + struct.pack("<HH", value, 0) + content[place + 12 :]


def hot(values):
    changed = values.copy()
    changed[0, 0] = 65535
    return changed


def spoilt(value):
    changed = VALUES.astype(np.float32)
    changed[0, 0] = value
    return changed


LOW, HIGH = np.percentile(VALUES, (0.5, 99.5))
SAME = {
    "modality in lower case": lambda: dicom(VALUES, Modality=" mr "),
    "white is zero": lambda: dicom(4095 - VALUES, PhotometricInterpretation="MONOCHROME1"),
    "presentation is inverse": lambda: dicom(4095 - VALUES, PresentationLUTShape="INVERSE"),
    "both": lambda: dicom(4095 - VALUES, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE"),
    "too wide a window": lambda: dicom(VALUES, WindowCenter=32768, WindowWidth=65536),
    "a window beside the values": lambda: dicom(VALUES, WindowCenter=-500, WindowWidth=200),
    "a window of no width": lambda: dicom(VALUES, WindowCenter=500, WindowWidth=0),
    "an exact window": lambda: dicom(
        VALUES, WindowCenter=(LOW + HIGH) / 2, WindowWidth=HIGH - LOW, VOILUTFunction="LINEAR_EXACT"
    ),
    "a table of greys": lambda: dicom(
        VALUES, VOILUTSequence=lookup(0, (np.arange(4096) - LOW).clip(0, HIGH - LOW) / (HIGH - LOW) * 65535, 16)
    ),
    "a table of values": lambda: dicom(VALUES, ModalityLUTSequence=lookup(0, np.arange(4096) * 7, 16)),
    "signed": lambda: dicom(VALUES.astype(np.int16) - 1000, RescaleIntercept=-24),
    "implicit": lambda: rewritten(PLAIN, ImplicitVRLittleEndian),
    "deflated": lambda: rewritten(PLAIN, DeflatedExplicitVRLittleEndian),
    "run-length coded": lambda: rewritten(PLAIN, RLELossless),
    "JPEG 2000": lambda: dicom(VALUES, JPEG2000Lossless, [jpeg2000(VALUES)]),
    "JPEG 2000 of another sign": lambda: dicom(VALUES, JPEG2000Lossless, [jpeg2000(VALUES)], PixelRepresentation=1),
    "no preamble": lambda: PLAIN[132:],
    "neither preamble nor meta": lambda: PLAIN[144 + int.from_bytes(PLAIN[140:144], "little") :],
    "gzipped": lambda: gzip.compress(PLAIN),
    "16-bit PNG": lambda: raster("PNG", VALUES),
    "16-bit PNG, gzipped": lambda: gzip.compress(raster("PNG", VALUES)),
    "a hot pixel": lambda: raster("PNG", hot(VALUES)),
    "16-bit TIFF, white is zero": lambda: tagged(raster("TIFF", 4095 - VALUES), 262, 0),
    "float TIFF with NaN": lambda: raster("TIFF", spoilt(np.nan)),
    "float TIFF with infinity": lambda: raster("TIFF", spoilt(np.inf)),
    "float TIFF with -infinity": lambda: raster("TIFF", spoilt(-np.inf)),
    "NIfTI": lambda: nifti(VALUES[::-1, ::-1].T[..., None].astype(np.int16)),
    "palette": palette,
}


@pytest.mark.parametrize("make", SAME.values(), ids=SAME.keys())
def test_the_same_picture_is_read_the_same(make):
    (picture,) = read(make())

    difference = np.abs(picture.grey[1:].astype(int) - grey(PLAIN)[1:])
    assert difference.max() <= 1
    assert difference.mean() < 0.5
    assert picture.reason is None
    assert picture.frame is None


def test_training_reads_dicom_as_prediction_does(tmp_path):
    (tmp_path / "IM0001").write_bytes(PLAIN)

    assert np.array_equal(read_image(tmp_path / "IM0001", 64), Reader(size=64).prepare(grey(PLAIN))[0])


@pytest.mark.parametrize(("kind", "limit"), [(b"SS", None), (b"US", None), (b"SS", -1900)])
def test_padding_is_black_and_takes_no_part(kind, limit):
    values = VALUES.astype(np.int16)
    values[:20] = -2000 if limit is None else np.linspace(-2000, -1900, 20)[:, None]
    rest = dicom(values[20:])
    elements = {"PixelPaddingValue": -2000} | ({} if limit is None else {"PixelPaddingRangeLimit": limit})

    for interpretation in ("MONOCHROME2", "MONOCHROME1"):
        content = dicom(values, PhotometricInterpretation=interpretation, **elements)
        padded = grey(content.replace(b"\x28\0\x20\1SS", b"\x28\0\x20\1" + kind))

        assert (padded[:20] == 0).all()
        shown = padded[20:] if interpretation == "MONOCHROME2" else 255 - padded[20:]
        assert np.array_equal(shown, grey(rest))


def test_a_sigmoid_window_is_as_the_standard_says():
    shown = grey(dicom(VALUES, WindowCenter=1500, WindowWidth=1200, VOILUTFunction="SIGMOID"))

    expected = 255 / (1 + np.exp(-4 * (VALUES.astype(float) - 1500) / 1200))  # PS3.3 C.11.2.1.3.1
    np.testing.assert_allclose(shown, expected, atol=1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_turned_picture_is_turned_upright(form, orientation):
    pixels = np.kron(np.arange(12, dtype=np.uint8).reshape(3, 4) * 20, np.ones((16, 16), np.uint8))
    turned = {  # EXIF 2.32, 4.6.4 A: where row 0 and column 0 of what is stored are seen
        1: lambda seen: seen,
        2: lambda seen: seen[:, ::-1],
        3: lambda seen: seen[::-1, ::-1],
        4: lambda seen: seen[::-1],
        5: lambda seen: seen.T,
        6: lambda seen: np.rot90(seen),
        7: lambda seen: seen[::-1, ::-1].T,
        8: lambda seen: np.rot90(seen, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation

    shown = grey(raster(form, np.ascontiguousarray(turned(pixels)), exif=exif))

    np.testing.assert_allclose(shown, pixels, atol=4)


@pytest.mark.parametrize("kind", [0, 1, 4])
def test_a_page_of_tiff_is_a_picture_unless_it_is_a_small_copy_or_a_mask(kind):
    pages = [np.full((8, 9), value, np.uint8) for value in (10, 20, 30)]
    content = raster("TIFF", pages)
    if kind:  # of the last page, whose first tag becomes that of its kind
        place = content.rindex(struct.pack("<HHI", 256, 4, 1))
        content = content[:place] + struct.pack("<HHIHH", 254, 3, 1, kind, 0) + content[place + 12 :]

    found = read(content)

    assert [picture.grey[0, 0] for picture in found] == ([10, 20, 30] if not kind else [10, 20])
    assert [picture.frame for picture in found] == list(range(len(found)))


def test_a_frame_of_an_animation_is_a_picture():
    frames = [Image.new("L", (16, 16), value) for value in (0, 255)]
    for form in ("PNG", "WEBP"):
        buffer = io.BytesIO()
        frames[0].save(buffer, form, save_all=True, append_images=frames[1:], lossless=True)
        assert [int(picture.grey.mean()) for picture in read(buffer.getvalue())] == [0, 255]


def test_several_pictures_are_none_to_train_with(tmp_path):
    (tmp_path / "stack.tif").write_bytes(raster("TIFF", [np.zeros((8, 8), np.uint8)] * 2))

    with pytest.raises(UserError, match="several pictures"):
        read_image(tmp_path / "stack.tif", 8)


def test_volumes_in_one_file_are_told_apart():
    values = np.zeros((6, 7, 5, 2), np.int16)
    values[..., 1] = np.arange(5) * 100
    affine = np.diag([1, 1, 4, 1])

    found = read(nifti(values, affine=affine))

    assert [(picture.volume, picture.frame) for picture in found] == [(v, s) for v in (0, 1) for s in range(5)]
    assert [int(picture.grey.mean()) for picture in found[:5]] == [0] * 5
    assert np.all(np.diff([float(picture.grey.mean()) for picture in found[5:]]) > 0)


@pytest.mark.parametrize(("unit", "factor"), [("unknown", 1), ("mm", 1), ("meter", 1000), ("micron", 0.001)])
def test_the_spacing_of_slices_is_in_millimetres(unit, factor):
    image = nibabel.Nifti1Image(np.zeros((4, 5, 3), np.int16), np.diag([1, 1, 4, 1]))
    image.header.set_xyzt_units(unit)
    assert {picture.spacing for picture in read(image.to_bytes())} == {4 * factor}

    frames = np.zeros((3, 8, 8), np.uint16)
    shared = pydicom.Dataset()
    shared.PixelMeasuresSequence = [pydicom.Dataset()]
    shared.PixelMeasuresSequence[0].SpacingBetweenSlices = 4 * factor
    for elements in ({"SpacingBetweenSlices": -4 * factor}, {"SharedFunctionalGroupsSequence": [shared]}):
        assert {picture.spacing for picture in read(dicom(frames, **elements))} == {4 * factor}
    for elements in ({}, {"SpacingBetweenSlices": 0}, {"SharedFunctionalGroupsSequence": [pydicom.Dataset()]}):
        assert {picture.spacing for picture in read(dicom(frames, **elements))} == {None}


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"BodyPartExamined": "KNEE"}, "body part KNEE"),
        ({"BodyPartExamined": "L-Spine"}, "body part L-Spine"),
        ({"BodyPartExamined": "Upper_Leg"}, "body part Upper_Leg"),
        ({"BodyPartExamined": "BRAIN"}, None),
        ({"BodyPartExamined": "HEADNECK"}, None),
        ({"BodyPartExamined": "HIPPOCAMPUS"}, None),
        ({"BodyPartExamined": "UNKNOWN"}, None),
        ({"BodyPartExamined": ""}, None),
        ({"Modality": "CT"}, "modality CT"),
        ({"Modality": "CT", "BodyPartExamined": "BRAIN"}, "modality CT"),
        ({"Modality": ""}, None),
    ],
)
def test_a_header_that_names_no_brain_is_a_reason(elements, reason):
    (picture,) = read(dicom(VALUES, **elements))

    assert picture.reason == reason


def test_float_pixels_are_read():
    data = pydicom.dcmread(io.BytesIO(PLAIN))
    del data.PixelData
    data.BitsAllocated, data.FloatPixelData = 32, VALUES.astype("<f4").tobytes()
    for name in ("BitsStored", "HighBit", "PixelRepresentation"):
        del data[name]
    buffer = io.BytesIO()
    data.save_as(buffer)

    assert np.array_equal(grey(buffer.getvalue()), grey(PLAIN))


def header(magic, size=348):
    return struct.pack("<I", size).ljust(344, b"\0") + magic


NO_PICTURES = {
    "a pair's header": (header(b"ni1\0"), "pair"),
    "ANALYZE": (header(b"\0\0\0\0"), "pair"),
    "MGH": (gzip.compress(struct.pack(">5i", 1, 4, 4, 4, 1).ljust(600, b"\0")), "mri_convert"),
    "MINC 1": (b"CDF\1" + bytes(100), "MINC"),
    "MINC 2": (b"\x89HDF\r\n\x1a\n" + bytes(100), "MINC"),
    "GIF": (b"GIF89a" + bytes(100), "PNG"),
    "ZIP": (b"PK\3\4" + bytes(100), "unpack"),
    "text": (b"BM is how this text begins, and it is no picture", "no known format"),
    "control characters": (b"\x1b[31m\n\r" * 20, "no known format"),
    "narrow": (raster("PNG", np.zeros((1, 512), np.uint8)), "no picture of a head"),
    "narrower": (raster("PNG", np.zeros((3000, 5), np.uint8)), "no picture of a head"),
    "no pixels": (dicom(VALUES, PixelData=None), "without pixels"),
    "empty pixels": (dicom(VALUES, PixelData=b""), "empty pixel data"),
    "no rows": (dicom(VALUES, Rows=None), "without pixels"),
    "too few pixels": (dicom(VALUES, Rows=97), "less than expected"),
    "MPEG-2": (dicom(VALUES, MPEG2MPML, [b"\xff\x0a"]), "which is not read"),
    "cut off while gzipped": (gzip.compress(PLAIN)[:-900], "end-of-stream"),
    "TIFF of wide floats": (
        raster("TIFF", VALUES.astype("<f4")).replace(
            struct.pack("<HHII", 258, 3, 1, 32), struct.pack("<HHII", 258, 3, 1, 64)
        ),
        "floats of 16 and 64 bits",
    ),
    "TIFF cut off": (raster("TIFF", VALUES)[:40], "is damaged, or TIFF of a kind"),
    "BMP in runs": (
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 200, 0, 0, 62, 40, 64_000_000, 1, 1, 8, 1, 100, 0, 0, 2, 0) + bytes(40),
        "run-length",
    ),
}


@pytest.mark.parametrize(("content", "reason"), NO_PICTURES.values(), ids=NO_PICTURES.keys())
def test_what_is_no_picture_is_told_in_one_true_line(content, reason):
    assert reason in error_of(content)


def test_the_data_of_a_pair_are_told_by_their_name():
    assert "pair" in error_of(bytes(1000), "file.img")


def test_neither_names_nor_headers_break_a_line():
    message = error_of(b"\x1b", "file\n\x1b[31m\udcff.png")
    assert "no known format" in message
    assert r"\n\x1b[31m\udcff" in message
    (picture,) = read(dicom(VALUES, BodyPartExamined="KNEE\n\x1b[31m"))
    assert picture.reason.isprintable()


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEGExtended12Bit])
def test_a_compression_that_is_not_read_names_itself_and_what_reads_it(syntax):
    # A stream of one 12-bit frame: a frame header alone is enough to be refused.
    stream = b"\xff\xd8\xff\xc1\0\x0b\x0c" + struct.pack(">HHB3s", *VALUES.shape, 1, b"\1\x11\0") + b"\xff\xd9"
    code = """
import sys
sys.modules["pylibjpeg"] = None
from brain_tumor.data.formats.decoding import pictures
from brain_tumor.errors import UserError
try:
    list(pictures("file", sys.stdin.buffer.read()))
except UserError as error:
    print(error)
"""
    content = dicom(VALUES, syntax, [stream], BitsStored=12, HighBit=11)

    done = subprocess.run([sys.executable, "-c", code], input=content, capture_output=True, check=True)

    message = done.stdout.decode()
    assert f" {syntax.name}: pip install 'brain-tumor[dicom]' reads " in message
    assert len(message.splitlines()) == 1
    assert not done.stderr


def test_files_are_told_by_content(tmp_path):
    for name, content in {"IM0001": PLAIN, "i1.MRDC.1": PLAIN[132:], "x": nifti(np.zeros((4, 4, 4)))}.items():
        (tmp_path / name).write_bytes(content)
        assert is_picture(tmp_path / name)
    (tmp_path / "a.png").write_text("no picture")
    os.mkfifo(tmp_path / "pipe")
    for name in ("a.png", "pipe", "not there"):
        assert not is_picture(tmp_path / name)
    assert not is_picture(tmp_path)


def test_pydicoms_own_files_are_read_as_pydicom_does_or_refused_in_one_line():
    refused = read_well = 0
    for path in filter(Path.is_file, map(Path, get_testdata_files())):
        try:
            found = list(pictures("file", path.read_bytes()))
            read_well += 1
            data = pydicom.dcmread(path, force=True)
            if "PixelData" in data:
                assert len(found) == int(data.get("NumberOfFrames") or 1), path
                assert found[0].grey.shape == (data.Rows, data.Columns), path
        except UserError as error:
            refused += 1
            message = str(error)
            assert message.isprintable(), path
            readable = (
                "no known format" in message or "pixel" in message or "dicom]" in message or "directory" in message
            )
            assert readable or path.stem in DAMAGED, (path, message)
    assert read_well > 80
    assert refused > 50


@pytest.mark.parametrize("kind", ["bigendian", "expb", "implicit", "padded", "RLE", "jp2klossless"])
def test_pydicoms_copies_of_one_picture_are_read_the_same(kind):
    one, other = (Path(get_testdata_file(f"MR_small{end}.dcm")).read_bytes() for end in ("", f"_{kind}"))

    assert np.array_equal(grey(other), grey(one))
