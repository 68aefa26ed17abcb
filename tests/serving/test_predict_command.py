import csv
import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made import dicom, nifti
from PIL import Image
from serving.tiny import CENTRES, tiny_probabilities, tiny_volume, write_tiny_model

from brain_tumor.data.catalog import CLASSES
from brain_tumor.serving import cli, released

PROGRAM = "import sys; from brain_tumor.serving.cli import main; sys.exit(main())"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "model.onnx")


@pytest.fixture
def folder(tmp_path):
    """A picture a class, flat at its brightness, one like no other, and a file that is none."""
    for name, centre in zip(CLASSES, CENTRES, strict=True):
        Image.new("L", (50, 40), round(centre * 255)).save(tmp_path / f"{name}.png")
    checks = np.indices((32, 32)).sum(axis=0) % 2 * 255
    Image.fromarray(checks.astype(np.uint8)).save(tmp_path / "unlike.png")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    (tmp_path / ".hidden.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def predict(capsys, *arguments):
    status = cli.main(["predict", *map(str, arguments)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_json_tells_the_models_answers_and_the_rest_goes_on(model, folder, capsys):
    status, out, err = predict(capsys, folder, "--json", "--model", model)

    found = {row["file"].rsplit("/", 1)[1]: row for row in map(json.loads, out.splitlines())}
    assert set(found) == {"glioma.png", "meningioma.png", "notumor.png", "pituitary.png", "unlike.png"}
    for name, centre in zip(CLASSES, CENTRES, strict=True):
        row = found[f"{name}.png"]
        assert row["class"] == name
        assert list(row["probabilities"].values()) == pytest.approx(
            tiny_probabilities(round(centre * 255) / 255), abs=1e-4
        )
        assert row["prediction_set"] == [name]
        assert row["in_distribution"]
    assert not found["unlike.png"]["in_distribution"]
    assert found["unlike.png"]["reason"] == "its features are 1.67 times as far away as is allowed"
    assert found["glioma.png"]["reason"] is None
    assert found["unlike.png"]["ood_score"] == pytest.approx(0.5 / 0.3, rel=1e-3)
    assert status == 2
    passed_over, error = err.splitlines()
    assert passed_over.endswith(
        f"1 passed over, no pictures, masks or not readable, the first is {folder / 'notes.txt'}"
    )
    assert error.startswith(f"error: {folder / 'broken.jpg'}")


def test_csv_and_table_say_the_same(model, folder, capsys):
    files = [folder / "notumor.png", folder / "unlike.png"]

    status, out, _ = predict(capsys, *files, "--csv", "--model", model)
    rows = list(csv.DictReader(io.StringIO(out)))
    assert status == 0
    assert rows[0]["class"] == "notumor"
    assert [row["in_distribution"] for row in rows] == ["yes", "no"]

    status, out, err = predict(capsys, *files, "--model", model)
    first, second = out.splitlines()[1:]
    assert first.split()[0] == "notumor"
    assert first.endswith(str(files[0]))
    assert second.startswith("?")
    assert "not like the training images (its features are 1.67 times" in second
    assert not any(name in second.split() for name in CLASSES)
    assert "No diagnosis" in err


def test_heat_maps_are_written_and_empty_where_the_picture_is_black(model, folder, capsys):
    half = np.zeros((32, 32), np.uint8)
    half[:, 16:] = 120
    Image.fromarray(half).save(folder / "half.png")

    predict(capsys, folder / "half.png", folder / "broken.jpg", "--heatmap", folder / "maps", "--model", model)

    (written,) = (folder / "maps").iterdir()
    overlay = np.asarray(Image.open(written)).astype(int)
    assert overlay.shape == (32, 32, 3)
    assert np.ptp(overlay[:, :12], axis=2).max() == 0  # grey where nothing speaks for the class
    assert np.ptp(overlay[:, 20:], axis=2).min() > 50


def test_globs_folders_and_names_that_fit_nothing(model, folder, capsys):
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "glioma.png").rename(folder / "deep" / "er" / "glioma.png")

    status, out, _ = predict(capsys, folder / "**" / "*ma.png", "--json", "--model", model)
    assert sorted(json.loads(line)["class"] for line in out.splitlines()) == ["glioma", "meningioma"]
    assert status == 0

    status, out, err = predict(capsys, folder / "*.dcm", folder / "absent.png", "--json", "--model", model)
    assert (status, out) == (2, "")
    assert err.count("is not there") == 2


def test_more_files_than_fit_a_batch_keep_their_order(model, tmp_path, capsys):
    values = np.random.default_rng(3).integers(40, 215, 70)
    for number, value in enumerate(values):
        Image.new("L", (32, 32), int(value)).save(tmp_path / f"{number:03d}.png")

    _, out, _ = predict(capsys, tmp_path, "--json", "--model", model)

    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["file"][-7:] for row in rows] == [f"{number:03d}.png" for number in range(70)]
    for row, value in zip(rows, values, strict=True):
        assert list(row["probabilities"].values()) == pytest.approx(tiny_probabilities(value / 255), abs=1e-4)


HEAD = (np.indices((40, 40)).sum(axis=0) * 20).astype(np.uint16)


def series(folder, uid="1.2", **elements):
    """Three slices, named and stored against their order."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, place) in enumerate({"IM1": 8, "IM2": 4, "i3.MRDC.1": 0}.items()):
        header = {"SeriesDescription": "T1", "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "InstanceNumber": number}
        header |= {"SeriesInstanceUID": uid, "ImagePositionPatient": [0, 0, place]} | elements
        (folder / name).write_bytes(dicom(HEAD + 100 * number, WindowCenter=800, WindowWidth=1600, **header))


def test_a_series_in_a_folder_is_a_volume_whatever_its_files_are_called(model, tmp_path, capsys):
    series(tmp_path / "a")
    series(tmp_path / "b", "1.3", Modality="CT")
    (tmp_path / "b" / "VERSION").write_text("no picture")

    status, out, err = predict(capsys, tmp_path, "--json", "--model", model)

    rows = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert (
        err
        == f"{tmp_path}: 1 passed over, no pictures, masks or not readable, the first is {tmp_path / 'b' / 'VERSION'}\n"
    )
    assert [(row["file"], row["slice"], row["volume"], row["volume_number"]) for row in rows] == [
        (str(tmp_path / folder / "T1"), place, place is None, None) for folder in "ab" for place in (0, 1, 2, None)
    ]
    assert {row["reason"] for row in rows[4:7]} == {"its header says modality CT"}
    assert rows[7]["reason"] == "none of its 3 slices is: its header says modality CT"
    assert predict(capsys, tmp_path / "a" / "*", "--json", "--model", model)[1].splitlines() == out.splitlines()[:4]

    one = predict(capsys, tmp_path / "a" / "IM1", "--json", "--model", model)[1]
    assert json.loads(one) == rows[2] | {"file": str(tmp_path / "a" / "IM1"), "slice": None}


def test_each_volume_of_a_file_has_its_rows_and_overlays(model, tmp_path, capsys):
    (tmp_path / "4d.nii").write_bytes(nifti(np.stack([HEAD[..., None].repeat(2, 2)] * 2, axis=3).astype(np.int16)))
    arguments = (tmp_path / "4d.nii", "--model", model)

    _, out, _ = predict(capsys, *arguments, "--csv", "--heatmap", tmp_path / "maps")
    rows = [(row["volume_number"], row["slice"]) for row in csv.DictReader(io.StringIO(out))]
    assert rows == [("0", "0"), ("0", "1"), ("1", "0"), ("1", "1"), ("0", "volume"), ("1", "volume")]
    assert len(list((tmp_path / "maps").iterdir())) == 4

    _, out, _ = predict(capsys, *arguments)
    names = [line.partition("4d.nii")[2].partition(":")[0].strip() for line in out.splitlines()[1:]]
    assert names == [
        "volume 0 slice 0",
        "volume 0 slice 1",
        "volume 1 slice 0",
        "volume 1 slice 1",
        "volume 0",
        "volume 1",
    ]


def test_a_volume_tells_where_the_tumour_is(model, tmp_path, capsys):
    glioma, _, healthy, _ = CENTRES
    values = tiny_volume(glioma, healthy, healthy, glioma, glioma, glioma, healthy, healthy)
    (tmp_path / "head.nii").write_bytes(nifti(values, (1, 1, 2.5)))

    *slices, volume = map(json.loads, predict(capsys, tmp_path, "--json", "--model", model)[1].splitlines())
    assert {row["extent"] for row in slices} == {None}
    assert volume["class"] == "glioma"
    assert volume["extent"] == {"slices": [3, 4, 5], "first": 3, "last": 5, "share": 0.375, "millimetres": 7.5}

    *_, row = csv.DictReader(io.StringIO(predict(capsys, tmp_path, "--csv", "--model", model)[1]))
    assert row["tumour_slices"] == "3 4 5"
    last = predict(capsys, tmp_path, "--model", model)[1].splitlines()[-1]
    assert last.endswith("head.nii volume: tumour in 3 slices, 3 to 5, 38 % of the head, 7.5 mm")


def test_a_header_that_names_no_brain_is_the_reason(model, tmp_path, capsys):
    (tmp_path / "knee.dcm").write_bytes(dicom(HEAD, BodyPartExamined="KNEE\n\x1b[31m"))

    _, out, _ = predict(capsys, tmp_path / "knee.dcm", "--model", model)

    (line,) = out.splitlines()[1:]
    assert line.startswith("?")
    assert line.isprintable()
    assert "not like the training images (its header says body part KNEE" in line


def test_nothing_to_read_is_exit_status_2(model, tmp_path, capsys):
    assert predict(capsys, tmp_path, "--csv", "--model", model)[0] == 2
    (tmp_path / "notes.txt").write_text("no picture")
    status, _, err = predict(capsys, tmp_path, "--csv", "--model", model)
    assert status == 2
    passed_over, error = err.splitlines()
    assert passed_over.startswith(f"{tmp_path}: 1 passed over")
    assert error.startswith("error: no pictures found")


def test_without_a_model_it_says_how_to_name_one(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(released, "PROJECT", folder)
    monkeypatch.setattr(released, "installed_model", lambda _: None)
    status, out, err = predict(capsys, "glioma.png")
    assert (status, out) == (1, "")
    assert "--model" in err


@pytest.mark.parametrize("module", ["serving.predict", "serving.web", "audit.command"])
def test_the_light_install_is_enough(module):
    code = f"import json, sys; import brain_tumor.{module}; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert not {"torch", "dvc", "sklearn", "lightning", "onnx", "nncf", "albumentations"} & loaded


def test_names_reach_the_table_and_the_errors_without_their_controls(model, tmp_path, capsys):
    for name in ("a\x1b[31mb\nc.png", "turned\u202e.png", os.fsdecode(b"\xff.png")):
        Image.new("L", (32, 32), 51).save(tmp_path / name)
    (tmp_path / "no\rpicture.png").write_bytes(b"none")

    for form in ((), ("--csv",), ("--json",)):
        status, out, err = predict(capsys, tmp_path, *form, "--model", model)
        assert status == 2
        assert len(out.splitlines()) == 3 + (form != ("--json",))
        assert all(sign.isprintable() for text in (out, err) for sign in text if sign != "\n")
    assert {row["file"] for row in map(json.loads, out.splitlines())} == {
        str(path) for path in tmp_path.iterdir() if "picture" not in path.name
    }


@pytest.mark.parametrize("form", ["--json", "--csv", None])
def test_a_name_that_stdout_cannot_encode_ends_no_run(model, tmp_path, form):
    for name in ("\u0142.png", "\u00e9.png", os.fsdecode(b"\xff.png")):
        Image.new("L", (32, 32), 51).save(tmp_path / name)
    arguments = ["predict", str(tmp_path), "--model", str(model), *([form] if form else [])]
    for encoding in ("cp1252", "ascii"):
        environment = os.environ | {"PYTHONIOENCODING": encoding}
        done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, env=environment)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count(b"glioma") >= 3
        if form == "--json":
            assert {json.loads(line)["file"] for line in done.stdout.splitlines()} == set(map(str, tmp_path.iterdir()))


def test_overlays_of_an_earlier_run_are_not_predicted(model, folder, capsys):
    arguments = (folder, "--csv", "--heatmap", folder, "--model", model)
    before = predict(capsys, *arguments)
    assert len(list(folder.glob("00000?_*.png"))) == 5
    assert predict(capsys, *arguments) == before
    _, out, _ = predict(capsys, folder / "*unlike.png", "--json", "--model", model)
    assert len(out.splitlines()) == 1
    (overlay,) = folder.glob("00000?_unlike.png.png")
    _, out, _ = predict(capsys, overlay, "--json", "--model", model)  # what is named itself is predicted
    assert len(out.splitlines()) == 1


@pytest.mark.parametrize("place", ["glioma.png", "glioma.png/maps", "glioma.png/deep/maps"])
def test_a_place_for_overlays_that_is_a_file_is_one_line(model, folder, place, capsys):
    status, out, err = predict(capsys, folder / "unlike.png", "--heatmap", folder / place, "--csv", "--model", model)
    assert status == 1
    assert "glioma.png" in err
    assert err.count("\n") == 1
    assert "unlike" not in out


def test_a_name_too_long_for_an_overlay_is_one_line_and_the_rest_goes_on(model, folder, capsys):
    long = folder / f"{'a' * 251}.png"
    (folder / "unlike.png").rename(long)
    status, out, err = predict(
        capsys, long, folder / "glioma.png", "--csv", "--heatmap", folder / "maps", "--model", model
    )
    assert status == 2
    assert err == f"error: {long}: no overlay (File name too long)\n"
    assert len(out.splitlines()) == 3
    assert len(list((folder / "maps").iterdir())) == 1


def test_who_has_read_enough_ends_it_without_a_word(model, tmp_path):
    Image.new("L", (32, 32), 51).save(tmp_path / "1.png")
    command = [sys.executable, "-c", PROGRAM, "predict", *[str(tmp_path)] * 40, "--model", str(model)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()  # as `head` does

        assert process.wait(60) == 141
        assert process.stderr.read() == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no disk that is always full")
def test_output_that_goes_to_a_full_disk_is_one_line(model, tmp_path):
    Image.new("L", (32, 32), 51).save(tmp_path / "1.png")
    command = [sys.executable, "-c", PROGRAM, "predict", str(tmp_path), "--model", str(model)]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)

    assert done.returncode == 1
    assert (
        done.stderr == "error: the output cannot be written: No space left on device: check the disk that it goes to\n"
    )


def test_a_named_pipe_holds_up_nothing(model, tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe.png")
    Image.new("L", (32, 32), 51).save(tmp_path / "1.png")

    assert cli.main(["predict", str(tmp_path), "--model", str(model)]) == 2
    out, err = capsys.readouterr()
    assert "1.png" in out
    assert "pipe.png is no plain file" in err


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n"])
def test_a_model_that_is_none_is_one_line(tmp_path, content, capfd):
    for name in ("other.onnx", "1.png"):
        (tmp_path / name).write_bytes(content)

    assert cli.main(["predict", str(tmp_path / "1.png"), "--model", str(tmp_path / "other.onnx")]) == 1
    assert capfd.readouterr().err.startswith(f"error: {tmp_path}/other.onnx is no ONNX file: name a model")


def test_a_full_disk_for_overlays_ends_no_predictions(model, tmp_path, capsys, monkeypatch):
    for number in range(3):
        Image.new("L", (32, 32), 51).save(tmp_path / f"{number}.png")
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(Image.Image, "save", lambda *_, **__: (_ for _ in ()).throw(full))

    arguments = ["predict", str(tmp_path), "--model", str(model), "--heatmap", str(tmp_path / "maps"), "--json"]
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 3
    assert err.count("no overlay") == err.count("No space left on device") + err.count("no space left") == 3
