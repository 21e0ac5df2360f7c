"""Random mixes of tasks, as campaigns might submit them."""

import math
import random
from dataclasses import dataclass

from hpcmat.dispatch.placement.nodes import Node
from hpcmat.dispatch.placement.state import Demand, Request

FAMILIES = ("uniform", "mostly small", "powers of two", "parts", "nearly all and one", "large ones", "three sizes")


@dataclass(frozen=True)
class Mix:
    """Tasks that are all there at the start, and the nodes they run on."""

    seed: int
    family: str
    nodes: tuple[Node, ...]
    requests: tuple[Request, ...]

    def __str__(self):
        tasks = ", ".join(f"{describe(r.demand)} {r.predicted_s:.1f} s" for r in self.requests)
        return f"seed {self.seed}, {self.family}: {len(self.nodes)} nodes of {self.nodes[0].cores} cores: {tasks}"


def describe(demand):
    return f"{demand.nodes} nodes" if demand.whole else f"{demand.cores} cores"


def random_mix(seed):
    """Tasks of one family of sizes on 2 to 12 nodes, durations log-normal over a factor of 30, until the work keeps all
    nodes busy for ten times as long as the longest task."""
    rng = random.Random(seed)
    family = FAMILIES[seed % len(FAMILIES)]
    count, cores = rng.randint(2, 12), rng.choice([4, 8, 12, 48])
    nodes = tuple(Node(f"n{i}", cores) for i in range(count))
    sizes = rng.sample(range(1, count + 1), min(3, count))
    requests, work, longest = [], 0.0, 0.0
    while work < 10 * longest * count * cores or len(requests) < 30:
        request = Request(len(requests), demand(family, count, cores, sizes, rng), 0.0, duration(rng), limit_s=1e6)
        work += (request.demand.nodes * cores if request.demand.whole else request.demand.cores) * request.predicted_s
        longest = max(longest, request.predicted_s)
        requests.append(request)
    return Mix(seed, family, nodes, tuple(requests))


def duration(rng):
    return 100.0 * min(5.5, max(0.18, math.exp(rng.gauss(0.0, 0.7))))


def demand(family, count, cores, sizes, rng):
    if family == "parts" and rng.random() < 0.8:
        return Demand(1, rng.randint(1, cores), whole=False)
    drawn = {
        "uniform": lambda: rng.randint(1, count),
        "mostly small": lambda: rng.randint(1, max(1, count // 8)) if rng.random() < 0.9 else rng.randint(1, count),
        "powers of two": lambda: 2 ** rng.randint(0, int(math.log2(count))),
        "parts": lambda: rng.randint(1, count),
        "nearly all and one": lambda: rng.choice([1, max(1, count - 1)]),
        "large ones": lambda: rng.randint(max(1, count // 2), count) if rng.random() < 0.5 else rng.randint(1, 2),
        "three sizes": lambda: rng.choice(sizes),
    }
    return Demand(drawn[family](), 1)
