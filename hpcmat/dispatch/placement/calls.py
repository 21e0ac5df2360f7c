"""Functions on their way to the ranks of a task and results on their way back, as files of its work folder."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcmat.errors import DispatchError

CALL_FILE, RESULT_FILE, ERROR_FILE = "call.pickle", "result.pickle", "error.pickle"


@dataclass(frozen=True, slots=True)
class Call:
    """A function that every rank calls."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    named: dict[str, Any]


@dataclass(frozen=True, slots=True)
class RankError:
    """What the first rank that failed leaves behind."""

    rank: int
    error: BaseException
    trace: str


@dataclass(frozen=True, slots=True)
class CommandResult:
    """End of a command that ended well."""

    folder: Path
    """Work folder, with `stdout.txt` and `stderr.txt`."""
    nodes: tuple[str, ...]
    wall_s: float


def mpi_command(
    command: Sequence[str], environment: Mapping[str, str] | None = None, stdin: Path | None = None
) -> CommandResult:
    """A program with its arguments, for `PlacementExecutor.submit` or `parsl.python_app`, to be started on all ranks.

    The executor recognises this function by itself and starts the launcher in its stead.
    """
    raise DispatchError(f"{command}: runs on a placement executor only; submit it to one")


def plain_function(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of a Parsl app, without the wrapper that returns its errors.

    A rank on which an error is returned ends well, and the others wait for it for ever.
    """
    from parsl.app.errors import wrap_error

    wrapper = wrap_error(plain_function).__code__
    inner: Callable[..., Any] = function
    while getattr(inner, "__code__", None) is wrapper:
        inner = inner.__wrapped__  # type: ignore[attr-defined]
    return inner


def pack_call(call: Call) -> bytes:
    """Bytes of a call; a function that ranks cannot import (of a script, or decorated) travels with its code.

    Raises
    ------
    DispatchError
        Where something in it cannot be sent.
    """
    import dill

    try:
        if _importable(call.function):
            return pickle.dumps(call)
        return bytes(dill.dumps(call, recurse=True))
    except Exception as error:
        name = getattr(call.function, "__qualname__", repr(call.function))
        raise DispatchError(f"{name}: cannot be sent to other processes ({error}); pass plain data") from error


def write_once(path: Path, value: Any) -> bool:
    """Write a value where nothing was written yet; False where another rank came first."""
    own = path.with_name(f".{path.name}.{os.getpid()}")
    own.write_bytes(pickle.dumps(value))
    try:
        os.link(own, path)
    except FileExistsError:
        return False
    finally:
        own.unlink()
    return True


def read_value(path: Path) -> Any:
    """What a rank wrote.

    Raises
    ------
    DispatchError
        Where it cannot be read.
    """
    try:
        return pickle.loads(path.read_bytes())
    except Exception as error:
        raise DispatchError(
            f"{path}: cannot be read ({type(error).__name__}: {error}); see stderr.txt there"
        ) from error


def _importable(function: Callable[..., Any]) -> bool:
    module = sys.modules.get(getattr(function, "__module__", "") or "")
    name = getattr(function, "__qualname__", "")
    return getattr(function, "__module__", "") != "__main__" and getattr(module, name, None) is function
