"""What can be wrong with frames that are readable: geometry, net forces, duplicates, magnitudes.

A label that is absurd only in the light of a fit (a few eV on a hundred atoms) cannot be told here; it stands out among
the residuals of the fit.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from hpcmat.surrogates.dataset.data import Frame, Problem
from hpcmat.surrogates.dataset.geometry import TOO_CLOSE, Surroundings, surroundings_of
from hpcmat.surrogates.dataset.magnitudes import check_magnitudes
from hpcmat.surrogates.dataset.rough_model import fit_rough_model
from hpcmat.surrogates.dataset.units import check_units

Floats = NDArray[np.float64]

NET_FORCE = (0.05, 0.1)
"""eV/Å, and share of rms × sqrt(n): a net force above both is reported. Plane-wave grids leave some 0.01 eV/Å."""
SAME_ANG = 1e-4
"""Å: positions and cells of duplicates agree within this."""
SAME_LABEL = (1e-3, 1e-2)
"""eV/atom and eV/Å: duplicates with labels further apart contradict each other."""


def check_frames(frames: tuple[Frame, ...]) -> tuple[tuple[Frame, ...], tuple[Problem, ...]]:
    """Frames that can be used, and everything found."""
    near = {frame.index: surroundings_of(frame.label.structure) for frame in frames}
    problems = _geometry(frames, near)
    sound = _without(frames, problems)
    model = fit_rough_model(sound)
    rough = {frame.index: model.estimate(frame.label.structure) for frame in sound} if model else {}
    problems += check_magnitudes(sound, near, rough)
    sound = _without(sound, problems)
    problems += [*_net_forces(sound), *_duplicates(sound), *check_units(sound, rough)]
    return sound, tuple(problems)


def _without(frames: tuple[Frame, ...], problems: list[Problem]) -> tuple[Frame, ...]:
    left_out = {index for problem in problems if problem.excluded for index in problem.frames}
    return tuple(frame for frame in frames if frame.index not in left_out)


def _geometry(frames: tuple[Frame, ...], near: dict[int, Surroundings]) -> list[Problem]:
    degenerate = [frame.index for frame in frames if not near[frame.index].possible]
    close = [frame.index for frame in frames if near[frame.index].possible and near[frame.index].nearest < TOO_CLOSE]
    problems = []
    if degenerate:
        text = "atoms coincide, or the periodic lattice vectors are degenerate; correct the structure"
        problems.append(Problem(tuple(degenerate), "impossible geometry", text, True))
    if close:
        shortest = min(near[index].nearest for index in close)
        text = (
            f"two atoms are at {shortest:.2f} of the sum of their covalent radii or nearer (below {TOO_CLOSE} is no "
            "structure of matter); positions must be in Å"
        )
        problems.append(Problem(tuple(close), "unphysical distance", text, True))
    return problems


def _net_forces(frames: tuple[Frame, ...]) -> list[Problem]:
    found = {}
    for frame in frames:
        forces = frame.label.forces
        if len(forces):
            net = float(np.linalg.norm(forces.sum(axis=0)))
            floor, share = NET_FORCE
            if net > floor and net > share * float(np.sqrt(np.sum(forces**2))):
                found[frame.index] = net
    if not found:
        return []
    text = f"the forces do not add up to zero (up to {max(found.values()):.3g} eV/Å); check them for noise or errors"
    return [Problem(tuple(found), "net force", text)]


def _duplicates(frames: tuple[Frame, ...]) -> list[Problem]:
    same: list[list[Frame]] = []
    contradictory: list[list[Frame]] = []
    for cluster in _equal_structures(frames):
        target = same if all(_agree(cluster[0], other) for other in cluster[1:]) else contradictory
        target.append(cluster)
    return [
        *(_found(cluster, "duplicate frames", "these are the same structure; each counts") for cluster in same),
        *(
            _found(c, "contradictory frames", "the same structure with different labels; keep one")
            for c in contradictory
        ),
    ]


def _found(cluster: list[Frame], kind: str, text: str) -> Problem:
    return Problem(tuple(frame.index for frame in cluster), kind, text)


def _agree(one: Frame, other: Frame) -> bool:
    n = len(one.label.structure)
    if abs(one.label.energy - other.label.energy) / n > SAME_LABEL[0]:
        return False
    if one.label.forces.shape != other.label.forces.shape:
        return True
    return bool(np.all(abs(one.label.forces - other.label.forces) <= SAME_LABEL[1]))


def _equal_structures(frames: tuple[Frame, ...]) -> list[list[Frame]]:
    """Sets of two frames or more with the same atoms at the same places."""
    alike: dict[tuple[object, ...], list[Frame]] = defaultdict(list)
    for frame in frames:
        alike[frame.label.structure.symbols, frame.label.structure.pbc].append(frame)
    return [cluster for some in alike.values() if len(some) > 1 for cluster in _clusters(some)]


def _clusters(frames: list[Frame]) -> list[list[Frame]]:
    """Neighbours on a line are compared: points close in space are close in any projection."""
    points = np.array([_coordinates(frame) for frame in frames])
    direction = np.random.default_rng(0).normal(size=points.shape[1])
    line = points @ (direction / np.linalg.norm(direction))
    reach = SAME_ANG * np.sqrt(points.shape[1])
    order, clusters, taken = np.argsort(line, kind="stable"), [], set()
    for place, first in enumerate(order):
        if first in taken:
            continue
        cluster = [first]
        for other in order[place + 1 :]:
            if line[other] - line[first] > reach:
                break
            if other not in taken and abs(points[other] - points[first]).max() <= SAME_ANG:
                cluster.append(other)
        taken.update(cluster)
        if len(cluster) > 1:
            clusters.append([frames[number] for number in sorted(cluster)])
    return sorted(clusters, key=lambda cluster: cluster[0].index)


def _coordinates(frame: Frame) -> Floats:
    structure = frame.label.structure
    return np.concatenate([np.ravel(structure.cell), np.ravel(structure.positions)])
