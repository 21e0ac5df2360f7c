"""Variables by which a launcher tells a process that it is a rank; who starts a program anew must not pass them on."""

from __future__ import annotations

from collections.abc import Mapping

NESTED = ("PMI_", "PMIX_", "OMPI_COMM_WORLD_", "OMPI_UNIVERSE_", "HYDI_", "PLE_RANK")
"""Beginnings of their names: a program that inherits one believes that it belongs to the world around it."""


def outside_mpi(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without those variables."""
    return {name: value for name, value in environment.items() if not name.startswith(NESTED)}
