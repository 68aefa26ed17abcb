"""A package's file from where pip takes packages, without running what is in it.

pip itself would run the set-up script of a source archive, to learn its name, and fetch the tools for that.
"""

import ast
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import httpx2
from unearth import PackageFinder
from unearth.errors import HashMismatchError, UnpackError
from unearth.fetchers import PyPIClient

PYPI = "https://pypi.org/simple/"


def download_package(requirement: str, digest: str) -> bytes:
    """The content of a wheel or source archive.

    Args:
        requirement: name and version, `NAME==VERSION`.
        digest: SHA-256 of the file; another file is refused.

    Raises:
        ConnectionError: no index has it, it cannot be reached, or it is another file.
    """
    options = pip_options()
    verify = options["cert"] if options.get("cert") else True
    indexes = [options.get("index-url", PYPI), *options.get("extra-index-url", "").split()]
    urls = [] if options.get("no-index") else indexes
    places = [_url(place) for place in options.get("find-links", "").split()]
    try:
        with PyPIClient(verify=verify, trusted_hosts=options.get("trusted-host", "").split()) as session:
            finder = PackageFinder(session, index_urls=urls, find_links=places)  # type: ignore[arg-type]
            best = finder.find_best_match(requirement).best
            if best is None:
                raise ConnectionError(f"{', '.join([*urls, *places])} holds no such package")
            with tempfile.TemporaryDirectory() as folder:
                return finder.download(best.link, folder, {"sha256": [digest]}).read_bytes()
    except HashMismatchError as error:
        raise ConnectionError(f"another file is there under its name: {' '.join(str(error).split())}") from None
    except (httpx2.HTTPError, httpx2.InvalidURL, UnpackError, ValueError) as error:
        raise ConnectionError(" ".join(str(error).split()) or type(error).__name__) from None


def pip_options() -> Mapping[str, str]:
    """Values of pip's options by name, from its variables and files; of several for one, that which pip takes."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    lines = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    found = {}
    for scope in ("global", "download", ":env:"):  # later ones win
        for name, _, value in (line.partition("=") for line in lines if line.startswith(f"{scope}.")):
            found[name.removeprefix(f"{scope}.")] = str(ast.literal_eval(value))
    return {name: value for name, value in found.items() if value not in ("0", "false", "no", "off")}


def _url(place: str) -> str:
    return place if "://" in place else Path(place).absolute().as_uri()
