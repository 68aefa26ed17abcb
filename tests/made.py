"""Files of every format that is read, made in memory."""

import gzip
import io

import nibabel
import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid


def raster(form, pixels, **options):
    """A raster file; `pixels` is an array, or a list of arrays for the pages of a TIFF file."""
    first, *others = [Image.fromarray(page) for page in (pixels if isinstance(pixels, list) else [pixels])]
    buffer = io.BytesIO()
    first.save(buffer, form, **(options | {"save_all": True, "append_images": others} if others else options))
    return buffer.getvalue()


def dicom(values, syntax=ExplicitVRLittleEndian, frames=None, **elements):
    """An MR file with 16-bit values, (rows, columns), (frames, rows, columns), or (rows, columns, 3) of 8 bits.

    Args:
        values: the pixels.
        syntax: the transfer syntax.
        frames: the frames as they are stored in a compressed file.
        elements: what else the header says; None takes an element away.
    """
    colour = values.dtype == np.uint8 and values.shape[-1] == 3
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["test"])
    meta.TransferSyntaxUID = syntax
    data = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    data.Rows, data.Columns = values.shape[:2] if colour else values.shape[-2:]
    if values.ndim == 3 and not colour:
        data.NumberOfFrames = len(values)
    data.SamplesPerPixel, data.PhotometricInterpretation, data.Modality = 1, "MONOCHROME2", "MR"
    data.PixelRepresentation = int(values.dtype.kind == "i")
    data.BitsAllocated = data.BitsStored = 8 if values.dtype == np.uint8 else 16
    data.HighBit = data.BitsStored - 1
    if colour:
        data.SamplesPerPixel, data.PhotometricInterpretation, data.PlanarConfiguration = 3, "RGB", 0
    data.PixelData = values.astype(values.dtype if values.dtype in ("u1", "i2") else "<u2").tobytes()
    data["PixelData"].VR = "OW"
    if frames is not None:
        data.PixelData = encapsulate(frames)
        data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True
    for name, value in elements.items():
        if value is not None:
            setattr(data, name, value)
        elif name in data:
            del data[name]
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, data, enforce_file_format=True)
    return buffer.getvalue()


def nifti(values, spacings=(1, 1, 1), affine=None, compressed=False):
    """A NIfTI file."""
    image = nibabel.Nifti1Image(values, np.diag([*spacings, 1]) if affine is None else affine)
    content = image.to_bytes()
    return gzip.compress(content, mtime=0) if compressed else content
