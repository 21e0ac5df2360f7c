"""Labels of a study: through the runner, the acceptance and the failure ladder of a campaign, with what they cost."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hpcmat.engines.labelling import LabelRequest, run_label
from hpcmat.engines.ladder import MAX_CHARGED_ATTEMPTS, next_remedies
from hpcmat.engines.settings import EngineSettings
from hpcmat.records import Failure, Label, Structure, decode, encode
from hpcmat.store.atomic import make_folder


@dataclass(frozen=True, slots=True, eq=False)
class Calculated:
    """What came of some structures with one engine and its settings, in the order of the structures."""

    outcomes: tuple[Label | Failure, ...]
    cpu_s: float
    """Processor time of all attempts, those that failed too."""

    @property
    def labels(self) -> tuple[Label | None, ...]:
        """None where there is no label."""
        return tuple(outcome if isinstance(outcome, Label) else None for outcome in self.outcomes)

    @property
    def failures(self) -> tuple[tuple[int, Failure], ...]:
        """Number of the structure, and why it has no label."""
        return tuple((n, outcome) for n, outcome in enumerate(self.outcomes) if isinstance(outcome, Failure))


def calculate(settings: EngineSettings, structures: Sequence[Structure], folder: Path) -> Calculated:
    """Label structures one after the other in this process, each in a folder of its own below `folder`.

    A failure stands for its structure; what is unconverged or unphysical is never a label.
    """
    before = _cpu_s()
    outcomes = tuple(_outcome(settings, structure, folder / str(n)) for n, structure in enumerate(structures))
    return Calculated(outcomes, _cpu_s() - before)


def _outcome(settings: EngineSettings, structure: Structure, folder: Path) -> Label | Failure:
    tried: list[tuple[str, ...]] = []
    remedies: tuple[str, ...] | None = ()
    while remedies is not None:
        tried.append(remedies)
        request = encode(LabelRequest(structure, settings, remedies))
        text = run_label(request, make_folder(folder / f"attempt-{len(tried)}"), len(tried))
        outcome: Label | Failure = decode(Label | Failure, text)  # type: ignore[arg-type]
        # Failures that a campaign forgives without limit are the machine's: no study waits for a better one.
        if isinstance(outcome, Label) or len(tried) == MAX_CHARGED_ATTEMPTS:
            break
        remedies = next_remedies(outcome, tuple(tried))
    return outcome


def _cpu_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
