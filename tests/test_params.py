from pathlib import Path

import pytest

from brain_tumor.errors import UserError
from brain_tumor.params import load_params

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture
def changed(tmp_path):
    """Write the repository's parameters with lines replaced; returns the path."""

    def write(**replacements):
        lines = (REPOSITORY / "params.yaml").read_text(encoding="utf-8").splitlines()
        for name, line in replacements.items():
            (number,) = [n for n, old in enumerate(lines) if old.strip().startswith(f"{name}:")]
            lines[number] = lines[number][: len(lines[number]) - len(lines[number].lstrip())] + line
        path = tmp_path / "params.yaml"
        path.write_text("\n".join(lines), encoding="utf-8")
        return path

    return write


def message(path):
    with pytest.raises(UserError) as caught:
        load_params(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_the_parameters_of_the_repository_are_valid():
    params = load_params(REPOSITORY / "params.yaml")

    assert params.download.dataset == "brain-tumor-mri"


@pytest.mark.parametrize("text", ["3e-05", "3.0e-5", "0.00003"])
def test_a_number_as_dvc_writes_it_is_a_number(changed, text):
    assert load_params(changed(learning_rate=f"learning_rate: {text}")).train.learning_rate == 3e-05


def test_a_whole_number_is_taken_where_a_fraction_is_expected(changed):
    assert load_params(changed(rotation="rotation: 15")).augment.rotation == 15.0


@pytest.mark.parametrize(
    ("name", "line", "expected"),
    [
        ("learning_rate", "learning_rat: 1e-4", "train.learning_rat: no such parameter"),
        ("learning_rate", "learning_rat: 1e-4", "train.learning_rate: field required"),
        ("learning_rate", "learning_rate: fast", "train.learning_rate: input should be a valid number"),
        ("learning_rate", "learning_rate: '1e-4'", "train.learning_rate: input should be a valid number"),
        ("learning_rate", "learning_rate: -1", "train.learning_rate: input should be greater than 0"),
        ("learning_rate", "learning_rate: .nan", "train.learning_rate: "),
        ("epochs", "epochs: 2.5", "train.epochs: input should be a valid integer"),
        ("epochs", "epochs: true", "train.epochs: input should be a valid integer"),
        ("epochs", "epochs: 0", "train.epochs: input should be greater than or equal to 1"),
        ("protocol", "protocol: pubished", "split.protocol: input should be 'published'"),
        ("fold", "fold: 5", "split.fold: input should be less than or equal to 4"),
        ("image_size", "image_size: 225", "augment.image_size: input should be a multiple of 32"),
        ("balance", "balance: 1", "augment.balance: input should be a valid boolean"),
        ("digest", "digest: abc", "download.digest: "),
        ("dataset", "dataset: ''", "download.dataset: "),
        ("dataset", "dataset: null", "download.dataset: input should be a valid string"),
        ("seed", "seed: -1", "seed: input should be greater than or equal to 0"),
        ("seed", "sed: 1", "sed: no such parameter"),
    ],
)
def test_a_wrong_parameter_is_named_in_one_line(changed, name, line, expected):
    assert expected in message(changed(**{name: line}))


def test_all_wrong_parameters_are_named_at_once(changed):
    text = message(changed(epochs="epochs: many", fold="fold: 9", seed="seed: x"))

    assert all(name in text for name in ("train.epochs", "split.fold", "seed"))


@pytest.mark.parametrize("text", ["seed: [1", "seed: 1\nseed: 2", "a: b: c", "\tseed: 1"])
def test_what_is_no_yaml_is_named_in_one_line(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text)

    assert "not valid YAML" in message(path)


@pytest.mark.parametrize("content", [b"", b"just text", b"- 1\n- 2", b"\xff\xfe\x00broken", b"\x00"])
def test_a_file_that_holds_no_sections_is_refused(tmp_path, content):
    path = tmp_path / "params.yaml"
    path.write_bytes(content)

    message(path)


def test_a_missing_file_is_named(tmp_path):
    assert "is not in this folder" in message(tmp_path / "params.yaml")


def test_a_folder_in_place_of_the_file_is_named(tmp_path):
    (tmp_path / "params.yaml").mkdir()

    message(tmp_path / "params.yaml")


def test_weights_of_another_backbone_are_refused_at_once(changed):
    with pytest.raises(UserError, match=r"train.weights: imagenet_convolutions are of VGG16 alone: use imagenet"):
        load_params(changed(backbone="backbone: resnet18"))
