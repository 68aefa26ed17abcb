"""No duplicates lie across the splits of the phantom, by another method than the project's."""

import pytest
from duplicates.by_hash import across_splits, duplicates_by_hash

from brain_tumor.data.annotations import read_slices
from brain_tumor.data.catalog import read_catalog
from brain_tumor.download.phantom.write import write_phantom
from brain_tumor.duplicates.search import find_duplicates
from brain_tumor.split.protocols import assign

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Catalog, annotations, and the pairs of duplicates by the project and by hash."""
    root = tmp_path_factory.mktemp("phantom")
    write_phantom(root, seed=17, patients=24)
    catalog = read_catalog(root)
    by_hash = duplicates_by_hash([root / path for path in catalog["path"]])
    return catalog, read_slices(root), find_duplicates(root, catalog, 0.99), by_hash


def cut(drawn, params, protocol):
    catalog, slices, pairs, _ = drawn
    return assign(catalog, pairs, slices, params.split.model_copy(update={"protocol": protocol}), params.seed)


@pytest.mark.parametrize("protocol", ["leak_free", "grouped", "patient"])
def test_no_duplicates_lie_across_splits_of_the_phantom(drawn, params, protocol):
    assert across_splits(drawn[-1], cut(drawn, params, protocol)) == []


def test_the_hashes_see_the_duplicates_across_published_splits(drawn, params):
    assert across_splits(drawn[-1], cut(drawn, params, "published"))
