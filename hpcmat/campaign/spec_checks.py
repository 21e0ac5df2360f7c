"""Checks that need more than one key: structures, elements, engine, and whether the plan can succeed at all."""

from __future__ import annotations

from pathlib import Path

from hpcmat.campaign.spec import Campaign
from hpcmat.errors import InputError
from hpcmat.toml_input import did_you_mean


def check_campaign(campaign: Campaign, source: Path | str) -> None:
    """Refuse a campaign that cannot run.

    Raises
    ------
    InputError
        With the first problem found, prefixed by the name of the file.
    """
    try:
        _check_elements(campaign)
        _check_numbers(campaign)
        _check_validation(campaign)
        _check_structures(campaign)
        _check_engine(campaign)
    except InputError as error:
        raise type(error)(f"{source}: {error}") from None


def validation_expected(campaign: Campaign) -> int:
    """Validation frames that the label budget allows."""
    explored = max(campaign.budget.labels - campaign.explore.cold_start, 0)
    # The small number keeps 0.2 × 50 from being 9.999...
    return int(explored * campaign.steering.validation_fraction + 1e-9)


def _check_elements(campaign: Campaign) -> None:
    from ase.data import chemical_symbols

    elements = campaign.system.elements
    for element in elements:
        if element not in chemical_symbols[1:]:
            hint = did_you_mean(element, chemical_symbols[1:]) or "write chemical symbols such as Si"
            raise InputError(f"system.elements: '{element}' is no chemical element; {hint}")
    if len(set(elements)) < len(elements):
        raise InputError(f"system.elements: {', '.join(elements)} repeats an element; list each once")


def _check_numbers(campaign: Campaign) -> None:
    surrogate, explore, steering = campaign.surrogate, campaign.explore, campaign.steering
    if surrogate.inner_ang >= surrogate.cutoff_ang:
        raise InputError(
            f"surrogate.inner_ang: {surrogate.inner_ang} Å is not below cutoff_ang = {surrogate.cutoff_ang} Å; "
            "lower inner_ang"
        )
    if explore.sample_every > explore.steps:
        raise InputError(
            f"explore.sample_every: {explore.sample_every} exceeds steps = {explore.steps}, so that no candidate "
            "would be sampled; lower sample_every"
        )
    if steering.pool_min > steering.pool_max:
        raise InputError(
            f"steering.pool_min: {steering.pool_min} exceeds pool_max = {steering.pool_max}; lower pool_min"
        )
    if explore.cold_start > campaign.budget.labels:
        raise InputError(
            f"explore.cold_start: {explore.cold_start} labels exceed budget.labels = {campaign.budget.labels}; "
            "raise the budget"
        )


def _check_validation(campaign: Campaign) -> None:
    wanted, expected = campaign.target.min_validation, validation_expected(campaign)
    if expected < wanted:
        raise InputError(
            f"target.min_validation: budget.labels = {campaign.budget.labels} leaves {expected} validation frames "
            f"(validation_fraction = {campaign.steering.validation_fraction} of the labels after the cold start "
            f"of {campaign.explore.cold_start}), but {wanted} are needed; raise budget.labels or "
            "steering.validation_fraction"
        )


def _check_structures(campaign: Campaign) -> None:
    from hpcmat.campaign.structures import reference_structures, seeds_by_entry
    from hpcmat.engines.acceptance import check_structure

    present: set[str] = set()
    for number, group in enumerate(seeds_by_entry(campaign)):
        where = f"system.structures[{number}]"
        for structure in group:
            try:
                check_structure(structure)
            except InputError as error:
                raise InputError(f"{where}: {error}") from None
            present |= set(structure.symbols)
            unlisted = sorted(set(structure.symbols) - set(campaign.system.elements))
            if unlisted:
                raise InputError(
                    f"{where}: contains {', '.join(unlisted)}, which system.elements does not list; add it there"
                )
    absent = [element for element in campaign.system.elements if element not in present]
    if absent:
        raise InputError(
            f"system.elements: no structure contains {', '.join(absent)}; add a structure or remove the element"
        )
    reference_structures(campaign)


def _check_engine(campaign: Campaign) -> None:
    from hpcmat.campaign.structures import reference_structures, seed_structures
    from hpcmat.engines.registry import check_engine

    structures = (*seed_structures(campaign), *reference_structures(campaign))
    try:
        check_engine(campaign.engine, campaign.system.elements, structures)
    except InputError as error:
        raise InputError(f"engine: {error}") from None
