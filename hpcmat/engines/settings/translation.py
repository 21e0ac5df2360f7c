"""The same physics for another engine: settings that mean the same there are taken over, the rest are its defaults."""

from __future__ import annotations

from typing import get_args

from hpcmat.engines.settings import EngineSettings
from hpcmat.errors import InputError
from hpcmat.toml_input import did_you_mean, parse_model

_PHYSICS = ("xc", "kpoint_spacing_per_ang", "kpoint_grid", "smearing_ev", "smearing", "spin_polarized")
_PLANE_WAVES = frozenset({"gpaw", "espresso", "abinit", "vasp"})
"""Their cutoff is that of the wave functions; that of the others is of a density grid."""
_SAME_FILES = frozenset({"espresso", "abinit"})
"""They read the same pseudopotential files."""
_MODELS = {model.model_fields["name"].default: model for model in get_args(get_args(EngineSettings)[0])}


def settings_for(name: str, settings: EngineSettings) -> EngineSettings:
    """Settings of the engine `name` that ask for what `settings` ask of theirs.

    Functional, k-points, smearing and spins are taken over, the cutoff among plane-wave codes, the family of
    pseudopotentials between Quantum ESPRESSO and ABINIT. Raw keys and tolerances of self-consistency are not.

    Raises
    ------
    InputError
        There is no such engine, or it cannot do what is asked for.
    """
    if name == settings.name:
        return settings
    model = _MODELS.get(name)
    if model is None:
        hint = did_you_mean(name, _MODELS)
        raise InputError(f"unknown engine '{name}'; {hint + ' ' if hint else ''}available: {', '.join(_MODELS)}")
    given = settings.model_dump()
    if given.get("smearing", "fermi-dirac") != "fermi-dirac" and "smearing" not in model.model_fields:
        raise InputError(
            f'{name} smears by Fermi-Dirac alone, {settings.name} by {given["smearing"]}; set smearing = "fermi-dirac"'
        )
    taken = [key for key in _taken(settings.name, name) if key in given and key in model.model_fields]
    translated: EngineSettings = parse_model(
        model, {"name": name} | {key: given[key] for key in taken}, f"{name} with the settings of {settings.name}"
    )
    return translated


def _taken(source: str, target: str) -> tuple[str, ...]:
    cutoff = ("cutoff_ev",) if {source, target} <= _PLANE_WAVES else ()
    files = ("pseudopotentials",) if {source, target} <= _SAME_FILES else ()
    return (*_PHYSICS, *cutoff, *files)
