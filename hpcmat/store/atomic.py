"""Files that are whole or absent: written beside, synchronised, renamed."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

from hpcmat.errors import StorageError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def storage_error(path: Path, error: OSError) -> StorageError:
    """The family's error for a failed write, saying what to do next."""
    if error.errno in _FULL:
        return StorageError(f"{path}: no space left on the disk; free some and run the same command again")
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return StorageError(f"{path}: not writable; choose another folder or change its permissions")
    return StorageError(f"{path}: {error.strerror or error}; mend it and run the same command again")


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees all of it or the old one, even after a power cut.

    Raises
    ------
    StorageError
        The disk is full or the folder is not writable; nothing of the new content is then visible.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise storage_error(path, error) from error


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of UTF-8 text."""
    write_bytes(path, text.encode())


def create_exclusively(path: Path, text: str) -> bool:
    """Create a file with its content in one step; False if it exists already.

    A hard link is the one operation that both refuses an existing name and shows the whole content at once, also
    on network file systems; opening with O_EXCL leaves an empty file behind when the process dies before writing.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text)
        os.link(draft, path)
    except FileExistsError:
        return False
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        draft.unlink(missing_ok=True)
    return True


def sync_folder(folder: Path) -> None:
    """Make a rename in this folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> Path:
    """Create a folder and its parents; raises StorageError where that is not allowed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(folder, error) from error
    return folder


def sha256_of(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
