import hashlib
import http.server
import io
import threading
import zipfile
from types import SimpleNamespace

import cv2
import h5py
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from brain_tumor.data.annotations import outline_mask, read_outlines, read_slices
from brain_tumor.data.catalog import CLASSES
from brain_tumor.download import figshare
from brain_tumor.download.figshare import DOI, LABELS, download_figshare, write_annotations
from brain_tumor.errors import UserError

HEIGHT, WIDTH = 120, 140
PATIENTS = {1: "100360", 2: "MR040240B", 3: "MR040240C", 4: "12A7"}
SLICE_LABELS = {1: 1, 2: 2, 3: 2, 4: 3}


def draw(number):
    """Intensities as a scanner gives them and the mask of a tumour that lies left, and is wider than high."""
    rng = np.random.default_rng(number)
    coarse = rng.uniform(0, 3_000, (9, 9)).astype(np.float32)
    image = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.ellipse(mask, (30 + 3 * number, 70), (22, 11), 20, 0, 360, 1, -1)
    image[mask > 0] += 2_000
    return image.round().astype(np.int16), mask


def border(mask):
    """Columns and rows of points on the border, which run from 0 to the last pixel along the whole picture."""
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return (max(contours, key=cv2.contourArea)[:, 0] + 0.5) * (1 - 1 / np.array([WIDTH, HEIGHT]))


def mat_bytes(number, **changes):
    """A file as MATLAB 7.3 writes it: a header of 512 bytes, then HDF5 with columns first."""
    image, mask = draw(number)
    values = {
        "image": image.T,
        "tumorMask": mask.T,
        "tumorBorder": (border(mask)[:, ::-1] if number % 2 else border(mask)).reshape(-1, 1),
        "PID": np.array([[ord(letter)] for letter in PATIENTS[number]], np.uint16),
        "label": np.array([[SLICE_LABELS[number]]], np.float64),
    } | changes
    file = io.BytesIO()
    with h5py.File(file, "w", userblock_size=512) as data:
        for name, value in values.items():
            if value is not None:
                data[f"cjdata/{name}"] = value
    content = bytearray(file.getvalue())
    header = b"MATLAB 7.3 MAT-file"
    content[: len(header)] = header
    return bytes(content)


def as_published(image, mirrored):
    grey = np.interp(image, (image.min(), image.max()), (0, 255)).astype(np.uint8)
    return Image.fromarray(grey[:, ::-1] if mirrored else grey)


def figshare_files():
    return {f"{number}.mat": mat_bytes(number) for number in PATIENTS} | {"cvind.mat": b"folds", "README.txt": b"?"}


def write_files(folder, files):
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def zip_bytes(files):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


@pytest.fixture
def raw(tmp_path):
    """Pictures of slices, changed as in the published set, and others; the truth is in `TRUTH`."""
    folder = tmp_path / "raw"
    rng = np.random.default_rng(0)
    for name in CLASSES:
        (folder / "Training" / name).mkdir(parents=True)
        noise = rng.integers(0, 256, (9, 9), dtype=np.uint8)
        Image.fromarray(noise).resize((100, 100)).save(folder / "Training" / name / "other.jpg")
        Image.new("L", (50, 50)).save(folder / "Training" / name / "black.jpg")
    for path, (number, mirrored, _) in TRUTH.items():
        image, _ = draw(number)
        picture = as_published(image, mirrored)
        if "resized" in path:
            picture = picture.resize((225, 225)).convert("RGB")
        picture.save(folder / path, quality=80)
    return folder


TRUTH = {  # slice, mirrored, patient
    "Training/glioma/a.jpg": (2, 0, "MR040240"),
    "Training/glioma/b-resized.jpg": (3, 1, "MR040240"),
    "Training/meningioma/a.jpg": (1, 0, "100360"),
    "Training/meningioma/b.jpg": (1, 1, "100360"),
    "Training/meningioma/c-resized.jpg": (4, 0, "12A7"),  # in the wrong folder
}


FORMS = {
    "files": lambda folder: write_files(folder, figshare_files()),
    "archives": lambda folder: write_files(
        folder,
        {
            "one.zip": zip_bytes({"1.mat": mat_bytes(1), "2.mat": mat_bytes(2)}),
            "two.zip": zip_bytes({"sub/3.mat": mat_bytes(3), "4.mat": mat_bytes(4)}),
        },
    ),
    "one archive of all": lambda folder: (
        write_files(
            folder,
            {
                "1512427.zip": zip_bytes(
                    {
                        "one.zip": zip_bytes({f"{number}.mat": mat_bytes(number) for number in PATIENTS}),
                        "cvind.mat": b"folds",
                    }
                )
            },
        )
        / "1512427.zip"
    ),
}


@pytest.mark.parametrize("make", FORMS.values(), ids=FORMS.keys())
def test_each_picture_of_a_slice_is_found_and_no_other(tmp_path, raw, make):
    write_annotations(make(tmp_path / "figshare"), raw)

    slices = read_slices(raw)
    assert {row.image: (int(row.slice), row.patient) for row in slices.itertuples()} == {
        path: (number, patient) for path, (number, _, patient) in TRUTH.items()
    }
    assert list(slices["label"]) == [LABELS[SLICE_LABELS[int(number)]] for number in slices["slice"]]


def test_the_outline_lies_where_the_tumour_is_in_the_picture(tmp_path, raw):
    write_annotations(write_files(tmp_path / "figshare", figshare_files()), raw)

    outlines = read_outlines(raw)
    assert outlines.keys() == TRUTH.keys()
    for path, (number, mirrored, _) in TRUTH.items():
        truth = draw(number)[1].astype(bool)
        truth = truth[:, ::-1] if mirrored else truth
        drawn = outline_mask(outlines[path], HEIGHT, WIDTH)
        assert (drawn & truth).sum() / (drawn | truth).sum() > 0.97


BORDERS = {  # from the set: side of the slice, points, and what the tables have for the picture and its mirror image
    1000: (
        512,
        "225.951885,231.171896 233.409043,237.883338 242.357633,241.611917 257.271948,241.611917",
        "0.4422,0.4524 0.4568,0.4655 0.4743,0.4728 0.5035,0.4728",
        "0.5578,0.4524 0.5432,0.4655 0.5257,0.4728 0.4965,0.4728",
    ),
    1070: (  # as if it had 512 pixels, which puts the outline where no tumour is
        256,
        "114.620209,150.745645 129.783972,155.651568 139.595819,150.745645 129.337979,140.487805",
        "0.2243,0.2950 0.2540,0.3046 0.2732,0.2950 0.2531,0.2749",
        "0.7757,0.2950 0.7460,0.3046 0.7268,0.2950 0.7469,0.2749",
    ),
}


@pytest.mark.parametrize("number", BORDERS)
def test_tables_and_slices_give_the_same_bytes(tmp_path, raw, number):
    side, points, *texts = BORDERS[number]
    border = np.array([point.split(",") for point in points.split()], float)
    mask = np.zeros((side, side), np.uint8)
    cv2.fillPoly(mask, [np.rint(border).astype(int)], 1)
    image = cv2.resize(draw(9)[0], (side, side))
    mat = mat_bytes(2, image=image.T, tumorMask=mask.T, tumorBorder=border.reshape(1, -1))
    slices, outlines = [], []
    for mirrored, text in enumerate(texts):
        path = f"Training/glioma/{mirrored}.png"
        as_published(image, mirrored).save(raw / path)
        slices.append((path, number, mirrored, "MR040240", "glioma", 1))
        outlines.append((path, text))
    tables = tmp_path / "tables"
    tables.mkdir()
    columns = ["image", "cheng_slice", "mirrored", "patient", "cheng_label", "cheng_fold"]
    pd.DataFrame(slices, columns=columns).to_csv(tables / "cheng_slices.csv", index=False)
    pd.DataFrame(outlines, columns=["image", "outline"]).to_csv(tables / "tumor_outlines.csv", index=False)

    written = []
    for source in (tables, write_files(tmp_path / "figshare", {f"{number}.mat": mat})):
        write_annotations(source, raw)
        written.append([(raw / "annotations" / name).read_bytes() for name in ("slices.csv", "outlines.csv")])

    assert written[0] == written[1]
    for outline, truth in zip(read_outlines(raw).values(), (mask, mask[:, ::-1]), strict=True):
        drawn = outline_mask(outline, side, side)
        assert (drawn & truth).sum() / (drawn | truth).sum() > 0.8  # slivers of a few pixels


@pytest.fixture
def server(monkeypatch):
    """A stand-in for figshare: the files that it holds by their numbers, and the numbers asked for."""
    held, asked = {1: b"first", 2: b"second" * 99}, []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(int(self.path.removeprefix("/")))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(held[asked[-1]])

        def log_message(self, *_):
            pass

    archives = {f"{number}.zip": (number, hashlib.md5(content).hexdigest()) for number, content in held.items()}
    monkeypatch.setattr(figshare, "ARCHIVES", archives)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        monkeypatch.setattr(figshare, "SERVER", f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield SimpleNamespace(held=held, asked=asked)
        server.shutdown()


def test_a_stopped_download_goes_on_with_the_archive_that_is_not_whole(tmp_path, server):
    whole, server.held[2] = server.held[2], b"cut"
    with pytest.raises(UserError, match=f"figshare article {DOI} cannot be downloaded"):
        download_figshare(tmp_path / "cache")
    server.held[2] = whole

    folder = download_figshare(tmp_path / "cache")

    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"1.zip": b"first", "2.zip": whole}
    assert download_figshare(tmp_path / "cache") == folder
    assert server.asked == [1, 2, 2]


def test_without_a_network_the_ways_out_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(figshare, "SERVER", "http://127.0.0.1:1")

    with pytest.raises(UserError, match="get online, let BRAIN_TUMOR_ANNOTATIONS name its files"):
        download_figshare(tmp_path / "cache")


BAD = {
    "empty folder": ({}, "neither cheng_slices.csv nor .mat files"),
    "no slice": ({"cvind.mat": b"folds"}, "neither"),
    "cut off": ({"1.mat": mat_bytes(1)[:3_000]}, "1.mat"),
    "0 bytes": ({"1.mat": b""}, "1.mat"),
    "other name": ({"one.mat": mat_bytes(1)}, "one.mat"),
    "unknown label": ({"1.mat": mat_bytes(1, label=np.array([[4.0]]))}, "1.mat"),
    "no mask": ({"1.mat": mat_bytes(1, tumorMask=None)}, "1.mat"),
    "empty mask": ({"1.mat": mat_bytes(1, tumorMask=np.zeros((WIDTH, HEIGHT)))}, "does not lie around tumorMask"),
    "no border": ({"1.mat": mat_bytes(1, tumorBorder=np.ones((2, 1)))}, "no border"),
    "mask of another size": ({"1.mat": mat_bytes(1, tumorMask=np.ones((9, 9)))}, "mask of shape"),
    "damaged archive": ({"a.zip": zip_bytes({"1.mat": mat_bytes(1)})[:500]}, "a.zip"),
}


@pytest.mark.parametrize(("files", "reason"), BAD.values(), ids=BAD.keys())
def test_bad_files_are_named_in_one_line(tmp_path, raw, files, reason):
    folder = write_files(tmp_path / "figshare", files)

    with pytest.raises(UserError) as caught:
        write_annotations(folder, raw)

    assert reason in str(caught.value)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (raw / "annotations").exists()


def test_slices_that_match_nothing_are_refused(tmp_path, raw):
    for path in TRUTH:
        (raw / path).unlink()
    folder = write_files(tmp_path / "figshare", figshare_files())

    with pytest.raises(UserError, match="none of the 4 slices"):
        write_annotations(folder, raw)


@pytest.mark.parametrize("name", ["cheng_slices.csv", "tumor_outlines.csv"])
@pytest.mark.parametrize("content", [None, b"", b"other,columns\n", b"\xff\xfe\xff"])
def test_bad_tables_are_named_in_one_line(tmp_path, raw, name, content):
    tables = {
        "cheng_slices.csv": b"image,cheng_slice,mirrored,patient,cheng_label,cheng_fold\n",
        "tumor_outlines.csv": b"image,outline\n",
    }
    folder = write_files(tmp_path / "tables", tables | {name: content or b""})
    if content is None:
        (folder / name).unlink()

    with pytest.raises(UserError) as caught:
        write_annotations(folder, raw)

    assert name in str(caught.value)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.real_data
def test_tables_beside_the_published_set_keep_every_row(real_data, tmp_path):
    source = real_data.parent
    if not (source / "cheng_slices.csv").is_file():
        pytest.skip("no annotations beside the archive")

    write_annotations(source, tmp_path)

    given = pd.read_csv(source / "cheng_slices.csv", dtype=str)
    slices = read_slices(tmp_path)
    assert len(slices) == len(given) == len(read_outlines(tmp_path)) == 4_750
    assert list(slices["patient"]) == list(given["patient"])
    assert list(slices["slice"]) == list(given["cheng_slice"])
