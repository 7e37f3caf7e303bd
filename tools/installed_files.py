"""Name the installed distributions whose files are not as they were installed; ``--forget`` takes them out.

Run with the Python of the environment that is looked at. Needs the standard library only.
"""

from __future__ import annotations

import csv
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path


def is_whole(distribution: Distribution) -> bool:
    """True when every file that was recorded at installation is there with its recorded size.

    Compiled ``.pyc`` files are not looked at: Python makes them again.
    """
    record = distribution.read_text("RECORD")
    if not record or not distribution.metadata["Version"]:
        return False
    for name, _, size in csv.reader(record.splitlines()):
        path = Path(str(distribution.locate_file(name)))
        if name.endswith(".pyc"):
            continue
        if not path.is_file() or (size and path.stat().st_size != int(size)):
            return False
    return True


def metadata_folder(distribution: Distribution) -> Path:
    """The ``.dist-info`` folder; without it pip and uv install the distribution again."""
    return Path(str(distribution._path))  # type: ignore[attr-defined]


def damaged() -> Iterator[Distribution]:
    """The distributions of this Python that are not whole; pip itself among them."""
    folders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    return (found for found in distributions(path=list(folders)) if not is_whole(found))


def main() -> None:
    """Print one damaged distribution a line."""
    for distribution in list(damaged()):
        folder = metadata_folder(distribution)
        print(folder.name.split("-")[0], flush=True)
        if "--forget" in sys.argv[1:] and folder.suffix in (".dist-info", ".egg-info"):
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
