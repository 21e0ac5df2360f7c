"""Names of the species of a model."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hpcmat_kernels.ace import AceModel


def check_elements(model: AceModel, elements: Sequence[str]) -> None:
    """Raise ValueError unless there is one distinct chemical symbol for each species."""
    if len(set(elements)) != model.n_species or len(elements) != model.n_species:
        raise ValueError(f"The model has {model.n_species} species, not {list(elements)}: name each once.")
    if not all(re.fullmatch("[A-Z][a-z]?", element) for element in elements):
        raise ValueError(f"Chemical symbols are needed, not {list(elements)}: correct the names.")
