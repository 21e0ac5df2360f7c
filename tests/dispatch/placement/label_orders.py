"""Orders of labels for a placement dispatcher on pretended or real nodes."""

from importlib import metadata

from hpcmat.dispatch.launchers.request import Launcher
from hpcmat.dispatch.placement.dispatcher import Allocation, PlacementDispatcher
from hpcmat.dispatch.placement.nodes import Node
from hpcmat.dispatch.worker import Order
from hpcmat.engines.labelling import LabelRequest, label_key
from hpcmat.records import Provenance, Resources, Task, encode
from hpcmat.store.claims import Process
from hpcmat.store.results import ResultStore

HERE = (Node("localhost", 4),)
TWO_RANKS, ONE_PROCESS = Resources(1, 2, 1, 300.0), Resources(walltime_s=60.0)
RUNNER = "hpcmat.engines.labelling:run_label"


def mpich():
    """Its launcher; the package belongs to the test environment: without it tests fail, they do not pass in silence."""
    return next(str(file.locate()) for file in metadata.files("mpich") or () if file.name == "mpiexec.hydra")


def dispatcher(folder, nodes=HERE, program=None, smallest=TWO_RANKS):
    """On these nodes, each task with the resources that its order asks for."""
    launcher = Launcher("hydra", str(program or mpich()))
    allocation = Allocation(tuple(nodes), launcher, lambda task, usable: task.resources, smallest)
    return PlacementDispatcher(allocation, folder / "logs", str(folder))


def label_order(store: ResultStore, structure, engine, resources=TWO_RANKS):
    """A label on two ranks of a node."""
    return order(store, label_key(structure, engine), RUNNER, encode(LabelRequest(structure, engine)), resources)


def order(store: ResultStore, key, runner, request="1", resources=ONE_PROCESS):
    """Any task."""
    task = Task("label-0001", "label", key, runner, request, resources, Provenance("campaign", "d", "random"))
    return Order(task, str(store.root), Process.current(), cores_per_node=4)
