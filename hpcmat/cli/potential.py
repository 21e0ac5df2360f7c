"""`hpcmat potential`: a potential from a file of labelled structures, its errors, and its way into other codes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from hpcmat.cli.common import AsJson, keep_freed_memory, one_blas_thread, print_json

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
        typer.Option("--cutoff-ang", metavar="X", help="Cutoff in Å; chosen by the evidence if not given."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Seed of the random part of the basis.")] = 0,
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    as_json: AsJson = False,
) -> None:
    """Fit a potential to a training set, with its errors; `mpiexec -n N hpcmat potential fit ...` shares the work.

    Problems of the data are told by frame, counted from 0. Units are eV, Å, eV/Å and eV/Å³.
    """
    one_blas_thread()
    keep_freed_memory()
    from hpcmat.cli.potential_fit import FitCommand, fit_file
    from hpcmat.dispatch.launch import joined
    from hpcmat.surrogates.communicator import SERIAL
    from hpcmat.surrogates.dataset import LabelKeys
    from hpcmat.surrogates.trainer import FitOptions

    keys = LabelKeys(energy_key, forces_key, stress_key)
    asked = FitCommand(train, out, test, keys, FitOptions(size, cutoff_ang, seed), as_json)
    ranks = joined()
    if ranks is None:
        fit_file(asked, SERIAL)
    else:
        ranks.run(lambda: fit_file(asked, ranks))


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
    found = evaluate_dataset(loaded, data, tuple(without_group or ()), error_bars=True)
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


def _refuse(message: str) -> None:
    from hpcmat.errors import InputError

    raise InputError(message)
