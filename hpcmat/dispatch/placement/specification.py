"""What a Parsl app may ask for in `parsl_resource_specification`, strictly checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from parsl.executors.errors import InvalidResourceSpecification
from pydantic import BaseModel, ConfigDict, Field

from hpcmat.dispatch.placement.state import Demand
from hpcmat.errors import InputError
from hpcmat.toml_input import parse_model

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]


class Specification(BaseModel):
    """Resources of one MPI task; the first three keys are those of Parsl's MPIExecutor."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    num_nodes: Count = Field(default=1, description="Nodes.")
    num_ranks: Count | None = Field(default=None, description="Ranks on all nodes together.")
    ranks_per_node: Count | None = Field(default=None, description="Ranks on each node.")
    threads: Count = Field(default=1, description="Threads of each rank.")
    gpus_per_node: Annotated[int, Field(ge=0)] = Field(default=0, description="GPUs on each node.")
    whole_nodes: bool = Field(default=False, description="Whether a task on one node wants it for itself.")
    priority: int = Field(default=0, description="Higher starts sooner; waiting raises it.")
    walltime_s: Seconds = Field(default=3600.0, description="Killed after so long, s.")
    predicted_s: Seconds | None = Field(default=None, description="Expected duration, s; the walltime if not given.")
    checkpoint_s: Seconds | None = Field(
        default=None, description="After so long it has saved enough to go on elsewhere, s; not given: it must end."
    )

    @property
    def ranks(self) -> int:
        """Ranks on each node."""
        return self.ranks_per_node or (self.num_ranks or self.num_nodes) // self.num_nodes

    @property
    def expected_s(self) -> float:
        """Expected duration, s: never beyond the walltime."""
        return min(self.predicted_s or self.walltime_s, self.walltime_s)

    def demand(self, shares_nodes: bool) -> Demand:
        """What it occupies under a launcher that can or cannot put two tasks on one node."""
        whole = self.whole_nodes or self.num_nodes > 1 or not shares_nodes
        return Demand(self.num_nodes, self.ranks * self.threads, self.gpus_per_node, whole)


def parse_specification(given: Mapping[str, Any]) -> Specification:
    """Specification of one task.

    Raises
    ------
    InvalidResourceSpecification
        Where a key is unknown, a count is not an integer, or the counts contradict each other.
    """
    try:
        found = parse_model(Specification, dict(given), "resource specification")
    except InputError as error:
        raise InvalidResourceSpecification(set(given), str(error)) from None
    if found.ranks < 1 or (found.num_ranks or found.ranks * found.num_nodes) != found.ranks * found.num_nodes:
        raise InvalidResourceSpecification(
            {"num_nodes", "num_ranks", "ranks_per_node"},
            f"{found.num_ranks} ranks are not the same number on each of {found.num_nodes} nodes; correct one of them",
        )
    return found
