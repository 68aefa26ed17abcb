"""Duplicates found by another method than the project's: perceptual hashes, confirmed by a plain correlation."""

from itertools import product

import imagehash
import numpy as np
from PIL import Image

from brain_tumor.data.catalog import EXCLUDED
from brain_tumor.data.images import Reader, prepare_images

# Bits of 256, at `SIZE`. Of the pairs of annotated images in the Kaggle set, all 1,711 of one slice differ by at most
# 6, plain or flipped, and none of two slices by less than 12.
NEAR = 8

# Hashes hold coarse structure alone, so near-black pictures and plain backgrounds collide: a hit counts once the grey
# values agree too. The size is another one than that at which the project compares.
SIZE, CORRELATION = 64, 0.99

BLOCK = 1024


def duplicates_by_hash(files, crop="none", correlation=CORRELATION):
    """(pairs, 2): numbers of files that show the same picture, plain or flipped, the smaller first.

    With `crop` head each is cut to the frame of its head before, as a network's `Reader` does it.
    """
    images, _ = prepare_images(files, Reader(size=SIZE, crop=crop))
    hashes, grey = signs(images), standardised(images)
    found = []
    for down, right in product((1, -1), repeat=2):
        turned = np.ascontiguousarray(images[:, ::down, ::right])
        turned_hashes, turned_grey = signs(turned), standardised(turned)
        for start in range(0, len(files), BLOCK):
            block = slice(start, start + BLOCK)
            differ = (hashes.shape[1] - hashes[block] @ turned_hashes.T) / 2
            first, second = np.nonzero(differ < NEAR)
            first += start
            agree = np.einsum("ij,ij->i", grey[first], turned_grey[second]) >= correlation
            found.append(np.stack([first, second], 1)[agree & (first < second)])
    return np.unique(np.concatenate(found), axis=0)


def across_splits(pairs, split):
    """Paths of the pairs whose images are used in different splits."""
    path, name = split["path"].to_numpy(object), split["split"].to_numpy(object)
    first, second = pairs.T
    apart = (name[first] != name[second]) & (name[first] != EXCLUDED) & (name[second] != EXCLUDED)
    return path[pairs[apart]].tolist()


def signs(images):
    """(images, 256): -1 and 1."""
    bits = [imagehash.phash(Image.fromarray(image), hash_size=16).hash.ravel() for image in images]
    return np.stack(bits).astype(np.float32) * 2 - 1


def standardised(images):
    """(images, pixels): mean 0 and length 1, so that products are correlations; zeros for pictures of one grey."""
    grey = images.reshape(len(images), -1).astype(np.float32)
    grey -= grey.mean(1, keepdims=True)
    textured = grey.std(1, keepdims=True) >= 1
    return np.where(textured, grey / np.maximum(np.linalg.norm(grey, axis=1, keepdims=True), 1), 0)
