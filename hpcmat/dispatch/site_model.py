"""What a site file says: how processors are got, what a node has, and which queues there are."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from hpcmat.errors import InputError

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Kind = Literal["local", "slurm", "pbs", "pjm", "gridengine"]
Launcher = Literal["none", "hydra", "openmpi", "srun", "fujitsu"]
Executor = Literal["auto", "htex", "placement", "farm"]

NODE_REQUESTS: dict[Kind, str] = {
    "slurm": "--nodes={nodes} --ntasks-per-node={ranks}",
    "pbs": "select={nodes}:ncpus={cores}:mpiprocs={ranks}",
    "pjm": "node={nodes}",
    "gridengine": "{queue}={nodes}",
}
"""How each scheduler is asked for nodes where the site file does not say."""

ACCOUNT_OPTIONS: dict[Kind, str] = {
    "slurm": "--account={account}",
    "pbs": "-A {account}",
    "pjm": "-g {account}",
    "gridengine": "-P {account}",
}
"""How each scheduler is told whom to charge where the site file does not say."""

_NODE_FIELDS = ("nodes", "cores", "ranks", "gpus", "queue")


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Queue(_Model):
    """A partition, queue, resource group or resource type, with its limits."""

    name: str = Field(
        min_length=1, description="Name that the scheduler knows; 'default' leaves the choice to Slurm or PBS."
    )
    only_by_name: bool = Field(default=False, description="Whether it is used only where --queue names it.")
    min_nodes: Count = Field(default=1, description="Fewest nodes of a job.")
    max_nodes: Count | None = Field(default=None, description="Most nodes of a job; not established where absent.")
    node_request: str = Field(default="", description="Option that asks for nodes of this queue, where it has its own.")
    node_multiple: Count = Field(default=1, description="Nodes are granted in multiples of this.")
    max_walltime_h: Positive | None = Field(
        default=None, description="Longest walltime, hours; not established where absent."
    )
    max_adaptive_walltime_h: Positive | None = Field(
        default=None, description="Longest walltime beyond the guaranteed one, hours; absent where there is no such."
    )


class Batch(_Model):
    """How a scheduler is asked for an allocation."""

    queues: tuple[Queue, ...] = Field(min_length=1, description="Queues, the one to prefer first.")
    nodes: Count = Field(default=1, description="Nodes of an allocation unless told otherwise.")
    walltime_h: Positive = Field(default=1.0, description="Walltime of an allocation unless told otherwise, hours.")
    node_request: str = Field(
        default="", description="Option that asks for nodes; {nodes}, {cores}, {ranks}, {gpus} and {queue} are put in."
    )
    account: str = Field(default="", description="Group or project to charge.")
    account_option: str = Field(default="", description="Option that names the account; {account} is put in.")
    account_required: bool = Field(default=False, description="Whether a job without an account is refused.")
    account_outside_script: bool = Field(default=False, description="Whether the account is an option of the command.")
    options: tuple[str, ...] = Field(default=(), description="Further options of every job, one a line.")
    volumes: tuple[str, ...] = Field(
        default=(), description="Data volumes of Fugaku that every job uses; that of the campaign is added."
    )
    rules: Literal["none", "fugaku"] = Field(default="none", description="Rules that every script is checked by.")
    login_shell: bool = Field(default=False, description="Whether only a login shell has the module command.")
    python: str = Field(default="", description="Python of the compute nodes; empty where it is the one that submits.")


class TaskSize(_Model):
    """What tasks of one kind get of the nodes of an allocation."""

    nodes: Count | None = Field(default=None, description="Nodes of each task; one if not given.")
    atoms_per_node: Count | None = Field(
        default=None, description="Instead of nodes: one node for each so many atoms of the structure."
    )
    max_nodes: Count | None = Field(default=None, description="Most nodes of a task that is sized by its atoms.")
    ranks_per_node: Count = Field(default=1, description="MPI ranks on each node.")
    threads: Count | None = Field(default=None, description="Threads of each rank; cores_per_worker if not given.")
    gpus_per_node: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="GPUs on each node that the task has for itself; its ranks share them.",
    )

    @property
    def parallel(self) -> bool:
        """Whether a task may be more than one process."""
        return self.ranks_per_node > 1 or (self.nodes or 1) > 1 or self.atoms_per_node is not None


TASK_KINDS = ("label", "explore", "fit")


class Tasks(_Model):
    """Sizes of tasks by kind."""

    label: TaskSize = Field(default=TaskSize(), description="Calculations with the engine.")
    explore: TaskSize = Field(default=TaskSize(), description="Trajectories with the potential: threads alone.")
    fit: TaskSize = Field(default=TaskSize(), description="Fits of the potential: threads alone.")

    @property
    def placed(self) -> bool:
        """Whether some task needs a place of its own: labels for their ranks, any task for its GPUs."""
        sizes = (self.label, self.explore, self.fit)
        return any(size.parallel or size.gpus_per_node > 0 for size in sizes)


class Site(_Model):
    """A machine as its file describes it; `auto` is what the machine says of itself."""

    name: str = Field(min_length=1, description="Name of the site.")
    description: str = Field(default="", description="One sentence for whoever chooses a site.")
    kind: Kind = Field(default="local", description="How processors are got: this machine, or a scheduler.")
    verified: str = Field(default="", description="Where and when jobs of this file ran, or 'never run'.")
    workers: Count | Literal["auto"] = Field(
        default="auto", description="Tasks that run at once on one node; auto fills the cores."
    )
    cores_per_worker: Count = Field(default=1, description="Cores of one task.")
    cores_per_node: Count | Literal["auto"] = Field(
        default="auto", description="Cores of one node: node-hours are cores / cores per node × hours."
    )
    memory_gib: Positive | Literal["auto"] = Field(default="auto", description="Memory of one node, GiB.")
    gpus_per_node: Annotated[int, Field(ge=0)] = Field(default=0, description="Accelerators of one node.")
    launcher: Launcher = Field(
        default="none", description="What starts the processes of a task; none where a task is one process."
    )
    launcher_program: str = Field(default="", description="Path of the launcher where its usual name will not do.")
    launcher_options: tuple[str, ...] = Field(default=(), description="Options of every launch, such as --mpi=pmi2.")
    executor: Executor = Field(
        default="auto",
        description="What hands out tasks: workers of one node (htex); placement of each on nodes of the allocation; "
        "or a manager with workers on each node (farm), for tasks of one process. auto places where there are several "
        "nodes or ranks, and takes the farm beyond 512 nodes.",
    )
    tasks: Tasks = Field(default=Tasks(), description="Nodes, ranks and threads of tasks.")
    environment: dict[str, str] = Field(default={}, description="Variables set for every task.")
    setup: tuple[str, ...] = Field(
        default=(),
        description="Shell lines run before the driver of an allocation starts, or the workers of this machine.",
    )
    batch: Batch | None = Field(default=None, description="How the scheduler is asked for an allocation.")

    _source: Path | None = PrivateAttr(default=None)

    @property
    def source(self) -> Path | None:
        """File that described the site."""
        return self._source

    @property
    def label(self) -> str:
        """What messages call the site: its file, or its name."""
        return str(self._source or self.name)


def cores_on_node(site: Site, size: TaskSize) -> int:
    """Cores that a task of this size holds on each of its nodes."""
    return size.ranks_per_node * (size.threads or site.cores_per_worker)


def check_site(site: Site) -> None:
    """Refuse a site whose keys contradict each other.

    Raises
    ------
    InputError
        With what to write instead.
    """
    _check_tasks(site)
    if site.kind == "local":
        if site.batch is not None:
            raise InputError(
                f'{site.label}: batch: kind is "local"; name the scheduler as kind, or leave the table out'
            )
        return
    if site.batch is None:
        raise InputError(f'{site.label}: batch: missing, and kind is "{site.kind}"; add [batch] with its queues')
    if not site.verified:
        raise InputError(f"{site.label}: verified: missing; say where jobs of this file ran, or 'never run'")
    _check_template(site, "node_request", site.batch.node_request, _NODE_FIELDS)
    _check_template(site, "account_option", site.batch.account_option, ("account",))
    for queue in site.batch.queues:
        _check_template(site, "queues.node_request", queue.node_request, _NODE_FIELDS)
        if queue.max_nodes is not None and queue.max_nodes < queue.min_nodes:
            raise InputError(
                f"{site.label}: batch.queues: '{queue.name}' has max_nodes {queue.max_nodes} below min_nodes "
                f"{queue.min_nodes}; correct one of them"
            )


def _check_tasks(site: Site) -> None:
    """Refuse sizes that contradict each other or that no node could hold."""
    for kind in TASK_KINDS:
        size: TaskSize = getattr(site.tasks, kind)
        if problem := _size_problem(site, kind, size):
            raise InputError(f"{site.label}: tasks.{kind}: {problem}")
    if site.executor in {"placement", "farm"} and site.launcher == "none":
        raise InputError(f'{site.label}: executor: "{site.executor}" needs a launcher; name it as launcher')
    if site.kind == "local" and site.setup and (site.executor == "placement" or site.tasks.placed):
        raise InputError(
            f"{site.label}: setup: placed tasks have the environment of the driver; type these lines before hpcmat"
        )


def _size_problem(site: Site, kind: str, size: TaskSize) -> str:
    if size.nodes is not None and size.atoms_per_node is not None:
        return "nodes and atoms_per_node contradict each other; keep one"
    if size.max_nodes is not None and size.atoms_per_node is None:
        return "max_nodes limits what atoms_per_node asks for, which is missing; add it, or write nodes"
    cores = cores_on_node(site, size)
    if site.cores_per_node != "auto" and cores > site.cores_per_node:
        return f"{cores} cores on each node exceed the {site.cores_per_node} that it has; lower ranks_per_node"
    if size.gpus_per_node > site.gpus_per_node:
        return f"{size.gpus_per_node} GPUs on each node exceed the {site.gpus_per_node} of it; correct gpus_per_node"
    if size.gpus_per_node and not _can_place(site):
        return "GPUs of its own need a launcher and executor placement; name the launcher of the site"
    if not size.parallel:
        return ""
    if kind != "label":
        return "is one process; only labels have ranks, on one node or several"
    if not _can_place(site):
        return "several ranks need a launcher and executor placement; name the launcher of the site"
    return ""


def _can_place(site: Site) -> bool:
    return site.launcher != "none" and site.executor in {"auto", "placement"}


def _check_template(site: Site, key: str, template: str, fields: tuple[str, ...]) -> None:
    try:
        named = {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise InputError(f"{site.label}: batch.{key}: {error}; write placeholders as {{{fields[0]}}}") from None
    if unknown := sorted(named - set(fields)):
        known = ", ".join(f"{{{name}}}" for name in fields)
        raise InputError(f"{site.label}: batch.{key}: unknown placeholder {{{unknown[0]}}}; use {known}")
