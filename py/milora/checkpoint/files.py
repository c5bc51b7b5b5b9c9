"""Writing a folder so that it is whole or not there."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from milora.errors import MiloraError


@contextlib.contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yields an empty folder beside ``folder``; at the end its files are on disk and it takes ``folder``'s place.

    An error, a full disk or a kill before that leaves what ``folder`` held as it was.

    Raises:
        MiloraError: ``run/disk`` where the operating system refuses a write.
    """
    suffix = uuid.uuid4().hex[:8]
    fresh = folder.parent / f".{folder.name}.new-{suffix}"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh.mkdir()
        yield fresh
        for file in fresh.iterdir():
            sync(file)
        sync(fresh)
        _exchange(fresh, folder, folder.parent / f".{folder.name}.old-{suffix}")
        sync(folder.parent)
    except OSError as error:
        raise MiloraError(
            "run/disk",
            f"Could not write {folder}: {error.strerror or error}. What was there before is unchanged.",
            file=str(folder),
        ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def sync(path: Path) -> None:
    """Waits until a file or a folder's entries are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _exchange(fresh: Path, folder: Path, old: Path) -> None:
    if not folder.exists():
        fresh.replace(folder)
        return
    # A folder cannot be replaced in one step; for an instant only `old` has the previous files.
    folder.replace(old)
    try:
        fresh.replace(folder)
    except OSError:
        old.replace(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
