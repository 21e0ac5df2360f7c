"""Where a task fits now, and where and when it will fit first."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hpcmat.dispatch.placement.nodes import Node, Share
from hpcmat.dispatch.placement.state import Demand, Request, Reservation, Running, State


@dataclass(slots=True)
class _Slot:
    """What is free on a node."""

    node: Node
    cores: int
    gpus: list[int]

    @property
    def idle(self) -> bool:
        return self.cores == self.node.cores and len(self.gpus) == self.node.gpus

    def take(self, share: Share) -> None:
        self.cores -= share.cores
        if share.gpus:
            self.gpus = [number for number in self.gpus if number not in share.gpus]


@dataclass(slots=True)
class Room:
    """What is free on the usable nodes; shrinks while a decision is made."""

    slots: list[_Slot]
    """Nodes with a free core, in the order of the allocation."""

    def take(self, shares: Iterable[Share]) -> None:
        """Occupy shares of nodes."""
        taken = {share.node.name: share for share in shares}
        for slot in self.slots:
            if slot.node.name in taken:
                slot.take(taken[slot.node.name])
        self.slots = [slot for slot in self.slots if slot.cores > 0]


@dataclass(slots=True)
class Shadow:
    """A reservation, and what later tasks may still take of its nodes beyond the promised time."""

    reservation: Reservation
    spare_cores: int = 0
    spare_gpus: int = 0

    def allows(self, request: Request, slot: _Slot, now: float) -> bool:
        """Whether a task on this node leaves the promise intact."""
        if slot.node.name not in self.reservation.nodes or now + request.predicted_s <= self.reservation.at:
            return True
        demand = request.demand
        return not demand.whole and demand.cores <= self.spare_cores and demand.gpus <= self.spare_gpus

    def charge(self, request: Request, shares: Sequence[Share], now: float) -> None:
        """Take note of a task that has been started."""
        if now + request.predicted_s > self.reservation.at and shares[0].node.name in self.reservation.nodes:
            self.spare_cores -= request.demand.cores
            self.spare_gpus -= request.demand.gpus


def room_of(state: State) -> Room:
    """What is free before anything is started."""
    used: dict[str, list[Share]] = defaultdict(list)
    for running in state.running:
        for share in running.shares:
            used[share.node.name].append(share)
    slots = [_Slot(node, node.cores, list(range(node.gpus))) for node in state.usable]
    for slot in slots:
        for share in used.get(slot.node.name, ()):
            slot.take(share)
    return Room([slot for slot in slots if slot.cores > 0])


def kinds_of(nodes: Iterable[Node]) -> Counter[tuple[int, int]]:
    """How many nodes there are of each number of cores and of GPUs; few kinds make up the largest machine."""
    return Counter((node.cores, node.gpus) for node in nodes)


def fits_ever(demand: Demand, kinds: Counter[tuple[int, int]]) -> bool:
    """Whether a demand could be met if nothing else ran."""
    enough = (count for (cores, gpus), count in kinds.items() if cores >= demand.cores and gpus >= demand.gpus)
    return sum(enough) >= demand.nodes


def fit_at_once(demand: Demand, state: State) -> int:
    """How many tasks of a demand could start now beside those that run."""
    slots = room_of(state).slots
    if demand.whole:
        return sum(_has_free(slot, demand) for slot in slots) // demand.nodes
    return sum(_parts(slot, demand) for slot in slots)


def place(request: Request, room: Room, shadow: Shadow | None, now: float) -> tuple[Share, ...]:
    """Shares of nodes on which a task can start at once, taken from the room; empty where there are none."""
    demand = request.demand
    found = [
        slot for slot in room.slots if _has_free(slot, demand) and (shadow is None or shadow.allows(request, slot, now))
    ]
    if len(found) < demand.nodes:
        return ()
    promised = shadow.reservation.nodes if shadow else frozenset()
    # GPUs are left to those who need them, nodes that are not promised to those who may stay on them, and nodes in use
    # are filled before others are begun.
    found.sort(key=lambda s: (s.node.gpus if not demand.gpus else 0, s.node.name not in promised, s.cores))
    shares = tuple(_share(slot, demand) for slot in found[: demand.nodes])
    room.take(shares)
    if shadow is not None:
        shadow.charge(request, shares, now)
    return shares


def best_fill(equals: list[Request], room: Room, shadow: Shadow | None) -> list[Request]:
    """Tasks of equal standing, those first that together leave the fewest idle nodes: a problem of subset sums.

    Bit n of `sums[i]` says that n nodes can be filled with tasks from the i-th on. Of several ways the one with the
    first tasks of the list is taken.
    """
    promised = shadow.reservation.nodes if shadow else frozenset()
    free = sum(slot.idle and slot.node.name not in promised for slot in room.slots)
    tasks = _that_might_fit(equals, free)
    sums = [1]
    for request in reversed(tasks):
        sums.append((sums[-1] | sums[-1] << request.demand.nodes) & ((2 << free) - 1))
    chosen: list[Request] = []
    left = sums[-1].bit_length() - 1
    for request, rest in zip(tasks, reversed(sums[:-1]), strict=True):
        nodes = request.demand.nodes
        if nodes <= left and rest >> (left - nodes) & 1:
            chosen.append(request)
            left -= nodes
    first = {request.id for request in chosen}
    return chosen + [request for request in equals if request.id not in first]


def _that_might_fit(equals: list[Request], free: int) -> list[Request]:
    seen: Counter[int] = Counter()
    found: list[Request] = []
    for request in equals:
        nodes = request.demand.nodes
        if request.demand.whole and seen[nodes] < free // nodes:
            seen[nodes] += 1
            found.append(request)
    return found


def earliest(request: Request, state: State, starts: Sequence[Running]) -> Shadow:
    """The reservation of a task: the nodes that can be free for it first, if all goes as predicted.

    A promise that was not kept stays with its nodes.
    """
    old = state.reservation
    if old is not None and old.task == request.id and old.at <= state.now and not old.nodes & state.fenced:
        return Shadow(old)
    ends = _ends_by_node([*state.running, *starts], state.now)
    nodes = [node for node in state.usable if _offers(node, request.demand)]
    if not request.demand.whole:
        return _earliest_part(request, nodes, ends, state.now)
    free_at = {node.name: max((end for end, _ in ends.get(node.name, ())), default=state.now) for node in nodes}
    at = sorted(free_at.values())[request.demand.nodes - 1]
    # Nodes that are free sooner can still serve tasks that stay beyond the promised time.
    latest = sorted((name for name in free_at if free_at[name] <= at), key=lambda name: -free_at[name])
    return Shadow(Reservation(request.id, at, frozenset(latest[: request.demand.nodes])))


def _earliest_part(
    request: Request, nodes: Sequence[Node], ends: dict[str, list[tuple[float, Share]]], now: float
) -> Shadow:
    at, cores, gpus, name = min(_first_gap(node, ends.get(node.name, []), request.demand, now) for node in nodes)
    spare = (-cores - request.demand.cores, -gpus - request.demand.gpus)
    return Shadow(Reservation(request.id, at, frozenset([name])), *spare)


def _first_gap(node: Node, ends: list[tuple[float, Share]], demand: Demand, now: float) -> tuple[float, int, int, str]:
    """When a part of a node is free, minus the cores and GPUs free then, and the node's name."""
    cores = node.cores - sum(share.cores for _, share in ends)
    gpus = node.gpus - sum(len(share.gpus) for _, share in ends)
    at = now
    for end, share in sorted(ends, key=lambda pair: pair[0]):
        if cores >= demand.cores and gpus >= demand.gpus and end > at:
            break
        at, cores, gpus = end, cores + share.cores, gpus + len(share.gpus)
    return at, -cores, -gpus, node.name


def _ends_by_node(running: Iterable[Running], now: float) -> dict[str, list[tuple[float, Share]]]:
    ends: dict[str, list[tuple[float, Share]]] = defaultdict(list)
    for task in running:
        end = task.expected_end(now)
        for share in task.shares:
            ends[share.node.name].append((end, share))
    return ends


def _offers(node: Node, demand: Demand) -> bool:
    return node.cores >= demand.cores and node.gpus >= demand.gpus


def _parts(slot: _Slot, demand: Demand) -> int:
    """How many parts of a node are free."""
    return min([slot.cores // demand.cores, *([len(slot.gpus) // demand.gpus] if demand.gpus else [])])


def _has_free(slot: _Slot, demand: Demand) -> bool:
    if demand.whole:
        return slot.idle and _offers(slot.node, demand)
    return slot.cores >= demand.cores and len(slot.gpus) >= demand.gpus


def _share(slot: _Slot, demand: Demand) -> Share:
    if demand.whole:
        return Share(slot.node, slot.node.cores, tuple(slot.gpus))
    return Share(slot.node, demand.cores, tuple(slot.gpus[: demand.gpus]))
