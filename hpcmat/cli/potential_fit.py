"""`hpcmat potential fit`: from a training set to a potential in a file, on one process or on the ranks of mpiexec."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from hpcmat.cli.common import print_json
from hpcmat.cli.potential_text import dataset_data, evaluation_data, print_evaluation, print_named, print_problems, tell
from hpcmat.errors import InputError
from hpcmat.store.atomic import require_writable
from hpcmat.surrogates.communicator import Communicator, at_root
from hpcmat.surrogates.dataset import Dataset, LabelKeys, read_dataset
from hpcmat.surrogates.evaluation import Evaluation, evaluate_dataset
from hpcmat.surrogates.potential import Potential
from hpcmat.surrogates.trainer import FitOptions, fit_dataset, settings_for


@dataclass(frozen=True, slots=True)
class FitCommand:
    """What was asked."""

    train: Path
    out: Path
    test: Path | None
    keys: LabelKeys
    options: FitOptions
    as_json: bool


def fit_file(asked: FitCommand, ranks: Communicator) -> None:
    """Fit, write, judge and tell; the root alone reads, writes and tells, and all ranks share the work.

    Raises
    ------
    InputError
        The paths, the options or the sets cannot be right; on all ranks.
    StorageError
        The potential cannot be written; on all ranks.
    """
    data = at_root(lambda: _training_set(asked), ranks)
    started = time.monotonic()
    fitted = fit_dataset(data, asked.options, tell if ranks.rank == 0 else _say_nothing, ranks)
    seconds = time.monotonic() - started
    at_root(lambda: fitted.save(asked.out), ranks)
    tested = _tested(fitted, asked, ranks) if asked.test else None
    if ranks.rank == 0:
        _tell_errors(asked, fitted, (data, tested), seconds)


def _say_nothing(_line: str) -> None:
    return None


def _training_set(asked: FitCommand) -> Dataset:
    _check_paths(asked)
    data = read_dataset(asked.train, asked.keys)
    print_problems(data)
    size = settings_for(data, asked.options).size
    tell(f"fitting {len(data.frames)} frames of {', '.join(data.elements)} at size {size}")
    return data


def _tested(fitted: Potential, asked: FitCommand, ranks: Communicator) -> tuple[Dataset, Evaluation]:
    """Errors on the test set, and the potential written again with them."""
    try:
        data = at_root(lambda: _test_set(asked), ranks)
        found = evaluate_dataset(fitted, data, communicator=ranks)
    except InputError as error:
        raise InputError(f"{asked.out} is written, but not tested: {error}") from error
    metadata = replace(
        fitted.metadata,
        test_file=data.source(),
        validation_errors=found.total.named(),
        calibration=found.total.calibration(),
    )
    at_root(lambda: replace(fitted, metadata=metadata).save(asked.out), ranks)
    return data, found


def _test_set(asked: FitCommand) -> Dataset:
    assert asked.test is not None
    data = read_dataset(asked.test, asked.keys)
    print_problems(data)
    return data


def _tell_errors(
    asked: FitCommand, fitted: Potential, sets: tuple[Dataset, tuple[Dataset, Evaluation] | None], seconds: float
) -> None:
    train, tested = sets
    if asked.as_json:
        about_train = dataset_data(train) | {"errors": dict(fitted.metadata.train_errors)}
        about_test = dataset_data(tested[0]) | evaluation_data(tested[1]) if tested else None
        print_json({"model": str(asked.out), "fit_s": seconds, "train": about_train, "test": about_test})
        return
    if tested:
        print(f"errors on {tested[0].name}")
        print_evaluation(tested[1])
    else:
        print(f"errors on {train.name}, which is the training set: give --test FILE for errors on other data")
        print_named(fitted.metadata.train_errors)
    print(f"potential: {asked.out} ({seconds:.1f} s)")


def _check_paths(asked: FitCommand) -> None:
    """What can be said of the paths without opening them: a test set is looked for, not into."""
    out, test = asked.out, asked.test
    if test is not None and not test.is_file():
        raise InputError(f"--test: {test}: no such file; check the path")
    if out.absolute() in {path.absolute() for path in (asked.train, test) if path}:
        raise InputError(f"--out: {out} is a data file; name another file")
    if out.is_dir():
        raise InputError(f"--out: {out} is a folder; name a file in it")
    if not out.absolute().parent.is_dir():
        raise InputError(f"--out: {out}: no such folder; create it or name another")
    require_writable(out.absolute().parent)
