"""`hpcmat potential`: a potential from a file of labelled structures, its errors, and its way into other codes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hpcmat.cli.common import AsJson, one_blas_thread, print_json

if TYPE_CHECKING:
    from hpcmat.surrogates.dataset import Dataset, LabelKeys
    from hpcmat.surrogates.evaluation import Evaluation
    from hpcmat.surrogates.potential import Potential

Size = Literal["small", "medium", "large"]
Target = Literal["yace", "lammps-plugin", "ase"]
DataFile = Annotated[Path, typer.Argument(metavar="SET", help="Labelled structures (extended XYZ, plain or .gz).")]
ModelFile = Annotated[Path, typer.Argument(metavar="MODEL", help="Potential as written by `fit` or by a campaign.")]
EnergyKey = Annotated[str | None, typer.Option("--energy-key", metavar="KEY", help="Name of the energy in the file.")]
ForcesKey = Annotated[str | None, typer.Option("--forces-key", metavar="KEY", help="Name of the forces in the file.")]
StressKey = Annotated[
    str | None, typer.Option("--stress-key", metavar="KEY", help="Name of the stress or virial in the file.")
]

potential = typer.Typer(
    name="potential",
    help="Fit a potential to a file of labelled structures, judge it, export it.",
    rich_markup_mode=None,
    add_completion=False,
)


@potential.command()
def fit(  # noqa: PLR0913 - one parameter for each option
    train: Annotated[Path, typer.Argument(metavar="TRAIN", help="Training set (extended XYZ, plain or .gz).")],
    out: Annotated[Path, typer.Option("--out", metavar="MODEL", help="File for the potential (.npz).")],
    test: Annotated[
        Path | None, typer.Option("--test", metavar="FILE", help="Test set, opened after the potential is written.")
    ] = None,
    size: Annotated[Size, typer.Option("--size", help="Size of the basis.")] = "medium",
    cutoff_ang: Annotated[
        float | None,
        typer.Option("--cutoff-ang", metavar="X", help="Cutoff in Å; 5.0, or 5.5 for large, if not given."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Seed of the random part of the basis.")] = 0,
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    as_json: AsJson = False,
) -> None:
    """Fit a potential to a training set, with its errors.

    Problems of the data are told by frame, counted from 0. Units are eV, Å, eV/Å and eV/Å³.
    """
    import time

    one_blas_thread()
    from hpcmat.cli.potential_text import dataset_data, evaluation_data, print_problems, tell
    from hpcmat.surrogates.dataset import LabelKeys, read_dataset
    from hpcmat.surrogates.trainer import FitOptions, fit_dataset, settings_for

    _check_paths(train, test, out)
    keys = LabelKeys(energy_key, forces_key, stress_key)
    data = read_dataset(train, keys)
    print_problems(data)
    options = FitOptions(size, cutoff_ang, seed)
    tell(f"fitting {len(data.frames)} frames of {', '.join(data.elements)} at size {settings_for(data, options).size}")
    started = time.monotonic()
    fitted = fit_dataset(data, options, tell)
    seconds = time.monotonic() - started
    fitted.save(out)
    tested = _test(fitted, (test, keys), out) if test else None
    if as_json:
        about_train = dataset_data(data) | {"errors": dict(fitted.metadata.train_errors)}
        about_test = dataset_data(tested[0]) | evaluation_data(tested[1]) if tested else None
        print_json({"model": str(out), "fit_s": seconds, "train": about_train, "test": about_test})
        return
    _print_errors(fitted, data, tested)
    print(f"potential: {out} ({seconds:.1f} s)")


@potential.command()
def evaluate(  # noqa: PLR0913 - one parameter for each option
    model: ModelFile,
    dataset: DataFile,
    without_group: Annotated[
        list[str] | None,
        typer.Option("--without-group", metavar="GROUP", help="Also give errors without this config_type; repeatable."),
    ] = None,
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    as_json: AsJson = False,
) -> None:
    """Errors of a potential on a set, in all and by group.

    Also how well the errors were predicted: z is the error over the predicted standard deviation.
    """
    from hpcmat.cli.potential_text import dataset_data, evaluation_data, print_evaluation, print_problems
    from hpcmat.surrogates.dataset import LabelKeys, read_dataset
    from hpcmat.surrogates.evaluation import evaluate_dataset
    from hpcmat.surrogates.potential import Potential

    loaded = Potential.load(model)
    data = read_dataset(dataset, LabelKeys(energy_key, forces_key, stress_key))
    print_problems(data)
    found = evaluate_dataset(loaded, data, tuple(without_group or ()))
    if as_json:
        print_json({"model": str(model), "set": dataset_data(data), **evaluation_data(found)})
        return
    print(f"errors on {data.name}")
    print_evaluation(found)


@potential.command()
def info(model: ModelFile, as_json: AsJson = False) -> None:
    """What a potential is, what it was fitted to, and its errors."""
    from hpcmat.cli.potential_text import potential_data, print_potential
    from hpcmat.surrogates.potential import Potential

    loaded = Potential.load(model)
    if as_json:
        print_json({"model": str(model), **potential_data(loaded)})
    else:
        print_potential(model, loaded)


@potential.command()
def card(
    model: ModelFile,
    train: Annotated[Path, typer.Option("--train", metavar="SET", help="The set that it was fitted to.")],
    out: Annotated[Path, typer.Option("--out", metavar="CARD", help="The card, an HTML file that opens offline.")],
    test: Annotated[Path | None, typer.Option("--test", metavar="SET", help="A set that it has not seen.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write the model card: errors, calibration, elastic constants, limits of use."""
    one_blas_thread()
    from hpcmat.cli.potential_card import make_card
    from hpcmat.surrogates.dataset import read_dataset
    from hpcmat.surrogates.potential import Potential

    loaded = Potential.load(model)
    make_card(out, loaded, read_dataset(train), read_dataset(test) if test else None)
    if as_json:
        print_json({"model": str(model), "card": str(out)})
    else:
        print(f"card: {out}")


@potential.command()
def export(
    model: ModelFile,
    to: Annotated[Target, typer.Option("--to", help="What to write.")],
    out: Annotated[
        Path, typer.Option("--out", metavar="PATH", help="File; for lammps-plugin a folder, or a .cpp file.")
    ],
    as_json: AsJson = False,
) -> None:
    """Write a potential for another code.

    yace is a file for `pair_style pace` of LAMMPS; lammps-plugin is a library for `plugin load`, compiled here, or its
    C++ source alone if PATH ends in .cpp; ase is a Python file that gives a calculator.
    """
    from hpcmat.cli.potential_export import export_potential
    from hpcmat.surrogates.potential import Potential

    if out.absolute() == model.absolute():
        _refuse(f"--out: {out} is the potential itself; name another file")
    written = export_potential(Potential.load(model), model, to, out)
    if as_json:
        print_json({"model": str(model), "to": to, "file": str(written)})
    else:
        print(f"{to}: {written}")


def _print_errors(fitted: Potential, train: Dataset, tested: tuple[Dataset, Evaluation] | None) -> None:
    from hpcmat.cli.potential_text import print_evaluation, print_named

    if tested:
        print(f"errors on {tested[0].name}")
        print_evaluation(tested[1])
    else:
        print(f"errors on {train.name}, which is the training set: give --test FILE for errors on other data")
        print_named(fitted.metadata.train_errors)


def _test(fitted: Potential, test: tuple[Path, LabelKeys], out: Path) -> tuple[Dataset, Evaluation]:
    """Errors on the test set, and the potential written again with them."""
    from hpcmat.cli.potential_text import print_problems
    from hpcmat.errors import InputError
    from hpcmat.surrogates.dataset import read_dataset
    from hpcmat.surrogates.evaluation import evaluate_dataset

    try:
        data = read_dataset(*test)
        print_problems(data)
        found = evaluate_dataset(fitted, data)
    except InputError as error:
        raise InputError(f"{out} is written, but not tested: {error}") from error
    metadata = replace(
        fitted.metadata,
        test_file=data.source(),
        validation_errors=found.total.named(),
        calibration=found.total.calibration(),
    )
    replace(fitted, metadata=metadata).save(out)
    return data, found


def _check_paths(train: Path, test: Path | None, out: Path) -> None:
    """What can be said of the paths without opening them: a test set is looked for, not into."""
    from hpcmat.store.atomic import require_writable

    if test is not None and not test.is_file():
        _refuse(f"--test: {test}: no such file; check the path")
    if out.absolute() in {path.absolute() for path in (train, test) if path}:
        _refuse(f"--out: {out} is a data file; name another file")
    if out.is_dir():
        _refuse(f"--out: {out} is a folder; name a file in it")
    if not out.absolute().parent.is_dir():
        _refuse(f"--out: {out}: no such folder; create it or name another")
    require_writable(out.absolute().parent)


def _refuse(message: str) -> None:
    from hpcmat.errors import InputError

    raise InputError(message)
