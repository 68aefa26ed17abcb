"""Put the data set that `download.dataset` names into data/raw, whole and checked."""

from brain_tumor.stage import stage

import logging
import os
from pathlib import Path

from brain_tumor.data.catalog import CLASSES, main_set
from brain_tumor.download.external_sets import EXTERNAL_SETS
from brain_tumor.download.main_set import Transport, content_digest, fetch_dataset
from brain_tumor.params import load_params

logger = logging.getLogger(__name__)


@stage
def main() -> None:
    params = load_params()
    transport = Transport(
        data=path_from_environment("BRAIN_TUMOR_DATA"),
        annotations=path_from_environment("BRAIN_TUMOR_ANNOTATIONS"),
        external=Path("data/external"),
        additional={name: path_from_environment(known.variable) for name, known in EXTERNAL_SETS.items()},
    )
    catalog = main_set(fetch_dataset(Path("data/raw"), params.download, params.seed, transport))
    counts = catalog["class"].value_counts()
    classes = ", ".join(f"{name} {counts[name]:,}" for name in CLASSES)
    logger.info("%s images: %s; download.digest: %s", f"{len(catalog):,}", classes, content_digest(catalog))


def path_from_environment(name: str) -> Path | None:
    """The path that a variable names; None where it is not set or empty."""
    value = os.environ.get(name)
    return Path(value).expanduser() if value else None


if __name__ == "__main__":
    main()
