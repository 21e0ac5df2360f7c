"""Checks of a screening that need more than one key: candidates, engine, objectives."""

from __future__ import annotations

from pathlib import Path

from hpcmat.campaign.screen.candidates import candidates_of, references_of
from hpcmat.campaign.screen.spec import ScreenCampaign
from hpcmat.engines.acceptance import check_structure
from hpcmat.engines.base import physics_of
from hpcmat.engines.recipes.whole import needs_references
from hpcmat.engines.registry import check_engine
from hpcmat.errors import InputError
from hpcmat.surrogates.properties.descriptors import describe_structures
from hpcmat.toml_input import did_you_mean


def check_screen(campaign: ScreenCampaign, source: Path | str) -> None:
    """Refuse a screening that cannot run.

    Raises
    ------
    InputError
        With the first problem found, prefixed by the name of the file.
    """
    try:
        _check_candidates(campaign)
        _check_references(campaign)
        _check_objectives(campaign)
        _check_cheap_engine(campaign)
        _check_literature(campaign)
    except InputError as error:
        raise type(error)(f"{source}: {error}") from None


def _check_candidates(campaign: ScreenCampaign) -> None:
    candidates = candidates_of(campaign)
    for candidate in candidates:
        try:
            check_structure(candidate.structure)
            describe_structures([candidate.structure])
        except InputError as error:
            raise InputError(f"candidates: {candidate.name}: {error}") from None
    symbols = {symbol for candidate in candidates for symbol in candidate.structure.symbols}
    for fidelity in campaign.fidelities:
        try:
            check_engine(campaign.engine_of(fidelity), symbols)
        except InputError as error:
            raise InputError(f"{'engine' if fidelity == 'dear' else 'cheap_engine'}: {error}") from None
    if campaign.search.top > len(candidates):
        raise InputError(f"search.top: {campaign.search.top} of {len(candidates)} candidates; lower it")


def _check_references(campaign: ScreenCampaign) -> None:
    references = references_of(campaign)
    for reference in references:
        if len(set(reference.structure.symbols)) > 1:
            raise InputError(f"references: {reference.name} is no crystal of one element; leave it out")
        try:
            check_structure(reference.structure)
        except InputError as error:
            raise InputError(f"references: {reference.name}: {error}") from None
    known = {reference.structure.symbols[0] for reference in references}
    for candidate in candidates_of(campaign):
        missing = sorted(set(candidate.structure.symbols) - known)
        if missing and needs_references(candidate.structure, campaign.asked):
            raise InputError(
                f"references: {candidate.name} needs a crystal of {missing[0]}; "
                f'write for example references = [{{ prototype = "fcc", sites = [["{missing[0]}"]] }}]'
            )


def _check_objectives(campaign: ScreenCampaign) -> None:
    properties = [objective.property for objective in campaign.objectives]
    if len(set(properties)) < len(properties):
        raise InputError("objectives: two of them have one property; leave one out")


def _check_cheap_engine(campaign: ScreenCampaign) -> None:
    if campaign.cheap_engine is None:
        return
    if physics_of(campaign.cheap_engine) == physics_of(campaign.engine):
        raise InputError("cheap_engine: its results are those of engine; give it cheaper settings, or leave it out")
    if len(campaign.objectives) > 1:
        raise InputError(
            "cheap_engine: it helps to choose by one objective only; leave it out, or the other objectives"
        )
    if campaign.search.policy == "random":
        raise InputError('cheap_engine: search.policy = "random" makes no use of it; leave one of them out')


def _check_literature(campaign: ScreenCampaign) -> None:
    names = [candidate.name for candidate in candidates_of(campaign)]
    for known in campaign.literature:
        if known.candidate not in names:
            hint = did_you_mean(known.candidate, names) or f"write one such as '{names[0]}'"
            raise InputError(f"literature: there is no candidate '{known.candidate}'; {hint}")
