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
    if error.errno == errno.ENOTDIR:
        return StorageError(f"{path}: not a folder; choose another one")
    return StorageError(f"{path}: {error.strerror or error}; mend it and run the same command again")


def is_disk_full(error: OSError) -> bool:
    """Whether an error, or the one it was raised from, says that there is no space left."""
    return any(isinstance(e, OSError) and e.errno in _FULL for e in (error, error.__cause__))


def write_bytes(path: Path, data: bytes, reserved: Path | None = None) -> None:
    """Write a file so that a reader sees all of it or the old one, even after a power cut.

    Parameters
    ----------
    reserved : file of `reserve` in the same folder, which becomes the new file.

    Raises
    ------
    StorageError
        The disk is full or the folder is not writable; nothing of the new content is then visible.
    """
    draft = reserved or path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("r+b" if draft.exists() else "wb") as stream:
            stream.write(data)
            stream.truncate()
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise storage_error(path, error) from error


def write_text(path: Path, text: str, reserved: Path | None = None) -> None:
    """`write_bytes` of UTF-8 text."""
    write_bytes(path, text.encode(), reserved)


def reserve(path: Path, size: int) -> None:
    """Make a file that occupies this many bytes, so that as many can be written later though the disk be full.

    Raises
    ------
    StorageError
        There is no room for it; the file is then not there.
    """
    try:
        with path.open("wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, size)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise storage_error(path, error) from error


def require_room(folder: Path) -> None:
    """Raise StorageError where not a single page can be written in this folder."""
    probe = folder / f".room.{os.getpid()}"
    reserve(probe, os.sysconf("SC_PAGE_SIZE"))
    probe.unlink(missing_ok=True)


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


def sync_file(path: Path) -> None:
    """Make the content of a file durable that somebody else wrote."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


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


def require_writable(folder: Path) -> None:
    """Raise StorageError where this folder, or the nearest that exists above it, cannot take files; writes nothing."""
    nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
    if not nearest.is_dir():
        raise storage_error(nearest, NotADirectoryError(errno.ENOTDIR, "not a folder"))
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise storage_error(nearest, PermissionError(errno.EACCES, "not writable"))


def sha256_of(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
