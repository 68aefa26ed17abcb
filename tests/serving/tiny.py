"""A stand-in for an exported model that is built in milliseconds and whose answers are known: brightness decides."""

import numpy as np
from made import dicom
from onnx import TensorProto, helper, numpy_helper

from brain_tumor.data.catalog import CLASSES
from brain_tumor.data.images import Reader
from brain_tumor.serving.onnx_model import METADATA_KEY, Exported

SIZE = 32

READER = Reader(size=SIZE)

CENTRES = (0.2, 0.4, 0.6, 0.8)
"""Mean brightness, 0 to 1, that is most like each class."""


def tiny_probabilities(mean):
    """What the model says of a picture with this mean brightness, 0 to 1."""
    logits = -200 * (mean - np.array(CENTRES)) ** 2
    return np.exp(logits) / np.exp(logits).sum()


def tiny_volume(*centres):
    """(20, 20, slices), a slice for each of `CENTRES` that is named; a black and white edge keeps the grey scale."""
    values = np.stack([np.full((20, 20), round(centre * 255), np.int16) for centre in centres], axis=2)
    values[0, :10], values[0, 10:] = 0, 255
    return values


def tiny_series(*centres, spacing=4, **elements):
    """DICOM files of a series in order, one for each of `CENTRES` that is named."""
    files = []
    for number, centre in enumerate(centres):
        values = np.full((20, 20), round(1000 * centre), np.uint16)
        values[0, :10], values[0, 10:] = 0, 1000
        header = {
            "SeriesInstanceUID": "1.2.3",
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "ImagePositionPatient": [0, 0, spacing * number],
            "InstanceNumber": number,
            "WindowCenter": 500,
            "WindowWidth": 1000,
        }
        files.append(dicom(values, **(header | elements)))
    return files


def write_tiny_model(path, reader=READER, threshold=0.9):
    """OOD distances are standard deviations of the pixels, 0 to 1, with the threshold 0.3; the maps are the pixels.

    `threshold` is that of the prediction sets.
    """
    constants = {
        "scale": np.float32(255),
        "centres": np.array([CENTRES], np.float32),
        "steepness": np.float32(-200),
        "axes": np.array([1, 2]),
        "channel": np.array([1]),
        "repeats": np.array([1, len(CLASSES), 1, 1]),
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["values", "scale"], ["grey"]),
        helper.make_node("ReduceMean", ["grey", "axes"], ["mean"], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "channel"], ["column"]),
        helper.make_node("Sub", ["column", "centres"], ["difference"]),
        helper.make_node("Mul", ["difference", "difference"], ["square"]),
        helper.make_node("Mul", ["square", "steepness"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("Unsqueeze", ["grey", "channel"], ["map"]),
        helper.make_node("Tile", ["map", "repeats"], ["maps"]),
        helper.make_node("Mul", ["grey", "grey"], ["squares"]),
        helper.make_node("ReduceMean", ["squares", "axes"], ["second"], keepdims=0),
        helper.make_node("Mul", ["mean", "mean"], ["first"]),
        helper.make_node("Sub", ["second", "first"], ["variance"]),
        helper.make_node("Relu", ["variance"], ["positive"]),
        helper.make_node("Sqrt", ["positive"], ["ood_distances"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", SIZE, SIZE])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", len(CLASSES)]),
            helper.make_tensor_value_info("maps", TensorProto.FLOAT, ["batch", len(CLASSES), SIZE, SIZE]),
            helper.make_tensor_value_info("ood_distances", TensorProto.FLOAT, ["batch"]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    exported = Exported(
        classes=CLASSES,
        reader=reader,
        prediction_sets={"0.95": (threshold,) * len(CLASSES)},
        ood_threshold=0.3,
        precision="fp32",
    )
    model.metadata_props.add(key=METADATA_KEY, value=exported.model_dump_json())
    path.write_bytes(model.SerializeToString())
    return path
