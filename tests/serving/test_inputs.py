import gzip

import numpy as np
import pytest
from made import dicom, raster
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from brain_tumor.errors import UserError
from brain_tumor.serving.inputs import sent_together, sources

SAGITTAL, AXIAL = [0, 1, 0, 0, 0, -1], [1, 0, 0, 0, 1, 0]


def write(folder, name, place, level, axes=AXIAL, syntax=ExplicitVRLittleEndian, **elements):
    """A slice of a series, of one grey within a dark frame."""
    values = np.full((8, 8), level, np.uint16)
    values[0] = 0
    normal = np.cross(axes[:3], axes[3:])
    header = {
        "SeriesInstanceUID": "1.2.3",
        "SeriesDescription": "T1 ax",
        "ImageOrientationPatient": axes,
        "ImagePositionPatient": list(map(float, normal * place)),
        "WindowCenter": 500,
        "WindowWidth": 1000,
    }
    (folder / name).write_bytes(dicom(values, syntax, **(header | elements)))


def names(folder, paths):
    return [[str(path.relative_to(folder)) for path in source.paths] for source in sources(paths)]


@pytest.mark.parametrize("axes", [AXIAL, SAGITTAL, [0.8, 0.6, 0, 0, 0, -1]])
def test_a_series_is_one_volume_in_the_order_of_its_places(tmp_path, rng, axes):
    places = rng.permutation(7)
    for number, place in enumerate(places):
        write(tmp_path, f"IM{number}", 5 * place, 300 + 100 * place, axes, InstanceNumber=number)

    (source,) = sources(sorted(tmp_path.iterdir()))

    assert source.name == str(tmp_path / "T1 ax")
    assert [path.name for path in source.paths] == [f"IM{number}" for number in np.argsort(places)]
    found = list(source.pictures())
    assert [picture.frame for picture in found] == list(range(7))
    assert [picture.spacing for picture in found] == pytest.approx([5] * 7)
    assert np.all(np.diff([int(picture.grey[-1, -1]) for picture in found]) > 0)


def test_a_missing_slice_leaves_its_number_out(tmp_path):
    for place in (0, 1, 3, 4, 5):
        write(tmp_path, f"IM{place}", 5 * place, 500)

    (source,) = sources(sorted(tmp_path.iterdir()))

    assert source.numbers == (0, 1, 3, 4, 5)
    assert source.spacing == 5


@pytest.mark.parametrize("places", [(0, 4, 8, 8.5, 12), (0, 0.02, 3e6), (0, 5, 1e12), (0, 3, 6, 9, 15, 21, 27, 33)])
def test_slices_at_no_regular_distances_are_counted(tmp_path, places):
    for number, place in enumerate(places):
        write(tmp_path, f"IM{number}", place, 500)

    (source,) = sources(sorted(tmp_path.iterdir()))

    assert source.numbers == tuple(range(len(places)))
    assert source.spacing == pytest.approx(places[-1] / (len(places) - 1))


def test_places_that_were_rounded_leave_no_gap(tmp_path):
    for number in range(12):
        write(tmp_path, f"IM{number:02}", round(number / 3, 1), 500)

    (source,) = sources(sorted(tmp_path.iterdir()))

    assert source.numbers == tuple(range(12))
    assert source.spacing == pytest.approx(1 / 3, abs=0.01)


def test_without_places_the_numbers_of_the_slices_order_them(tmp_path):
    for name, number in (("a", 10), ("b", 9), ("c", 8)):
        write(tmp_path, name, 0, 500, InstanceNumber=number, ImagePositionPatient=None)

    assert names(tmp_path, sorted(tmp_path.iterdir())) == [["c", "b", "a"]]


def test_what_is_no_slice_of_a_series_stands_by_itself(tmp_path):
    write(tmp_path, "a1", 1, 500)
    (tmp_path / "a2.png").write_bytes(raster("PNG", np.zeros((8, 8), np.uint8)))
    write(tmp_path, "a3", 0, 500)
    write(tmp_path, "b localizer", 2, 500, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    write(tmp_path, "c1 turned", 0, 500, SAGITTAL)
    write(tmp_path, "c2 turned", 1, 500, SAGITTAL)
    write(tmp_path, "d CT", 0, 500, Modality="CT")
    write(tmp_path, "e other", 0, 500, SeriesInstanceUID="1.2.4", SeriesDescription="T2")
    write(tmp_path, "f none", 0, 500, SeriesInstanceUID=None)
    (tmp_path / "g damaged").write_bytes((tmp_path / "a1").read_bytes()[:300])
    (tmp_path / "h empty").touch()
    for name in ("i1 nowhere", "i2 nowhere"):
        write(tmp_path, name, 0, 500, ImagePositionPatient=None)

    found = sources(sorted(tmp_path.iterdir()))

    assert names(tmp_path, sorted(tmp_path.iterdir())) == [
        ["a3", "a1"],
        ["a2.png"],
        ["b localizer"],
        ["c1 turned", "c2 turned"],
        ["d CT"],
        ["e other"],
        ["f none"],
        ["g damaged"],
        ["h empty"],
        ["i1 nowhere"],
        ["i2 nowhere"],
    ]
    assert [found[0].name, found[3].name] == [str(tmp_path / "T1 ax"), str(tmp_path / "T1 ax (2)")]
    assert found[1].name == str(tmp_path / "a2.png")


def test_a_damaged_slice_is_named(tmp_path):
    for number in range(3):
        write(tmp_path, f"IM{number}", number, 500)
    cut = (tmp_path / "IM1").read_bytes()[:-20]
    (tmp_path / "IM1").write_bytes(cut)
    (source,) = sources(sorted(tmp_path.iterdir()))

    with pytest.raises(UserError, match="IM1 cannot be read"):
        list(source.pictures())


def test_a_description_is_no_path_and_breaks_no_line(tmp_path):
    for number in range(2):
        write(tmp_path, f"IM{number}", number, 500, SeriesDescription="../t1\x1b[31m/ax")

    (source,) = sources(sorted(tmp_path.iterdir()))

    assert source.name == str(tmp_path / ".._t1\\x1b[31m_ax")


@pytest.mark.parametrize(
    "order", [range(10), [*range(0, 10, 2), *range(1, 10, 2)]], ids=["in turn", "one after another"]
)
def test_two_echoes_of_a_series_are_two_volumes(tmp_path, order):
    for number, (place, echo) in enumerate([(slice_ // 2, slice_ % 2) for slice_ in order]):
        write(tmp_path, f"{echo}{place}", 5 * place, 500, InstanceNumber=number)

    first, second = sources(sorted(tmp_path.iterdir()))

    assert [[path.name for path in source.paths] for source in (first, second)] == [
        [f"{echo}{place}" for place in range(5)] for echo in (0, 1)
    ]
    assert [source.name for source in (first, second)] == [str(tmp_path / "T1 ax"), str(tmp_path / "T1 ax (2)")]
    assert (first.spacing, second.spacing) == (5, 5)


def test_packed_files_belong_to_their_series(tmp_path):
    write(tmp_path, "a", 0, 400)
    write(tmp_path, "b.gz", 5, 500)
    (tmp_path / "b.gz").write_bytes(gzip.compress((tmp_path / "b.gz").read_bytes()))
    write(tmp_path, "c", 10, 600, syntax=DeflatedExplicitVRLittleEndian)
    files = sorted(tmp_path.iterdir())

    (source,) = sources(files)
    sent = list(sent_together([file.read_bytes() for file in reversed(files)], 10**8))

    assert source.spacing == 5
    assert [path.name for path in source.paths] == ["a", "b.gz", "c"]
    assert [picture.grey.tolist() for picture in sent] == [picture.grey.tolist() for picture in source.pictures()]
    assert [(picture.frame, picture.volume) for picture in sent] == [(0, None), (1, None), (2, None)]
