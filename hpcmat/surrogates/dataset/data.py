"""Records of a data set: frames, what is wrong with them, and where their labels were found."""

from __future__ import annotations

from dataclasses import dataclass

from hpcmat.records import Label
from hpcmat.surrogates.model_file import DataSource

SHOWN_FRAMES = 8
"""Frame numbers written out in a line of text; a record holds all."""


@dataclass(frozen=True, slots=True)
class LabelKeys:
    """Names under which a file holds its labels; None where it has none or, in a request, where it is to be found."""

    energy: str | None = None
    forces: str | None = None
    stress: str | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong, or suspected, with some frames of a file."""

    frames: tuple[int, ...]
    """Places in the file, counted from 0."""
    kind: str
    """A few words, the same for equal problems, e.g. `missing energy`."""
    message: str
    """A sentence: what was found and what to do."""
    excluded: bool = False
    """Whether these frames are left out of the data set."""

    def __str__(self) -> str:
        numbers = ", ".join(str(index) for index in self.frames[:SHOWN_FRAMES])
        more = f" and {len(self.frames) - SHOWN_FRAMES} more" if len(self.frames) > SHOWN_FRAMES else ""
        where = f"{'frame' if len(self.frames) == 1 else 'frames'} {numbers}{more}: " if self.frames else ""
        return f"{where}{self.message}{' [left out]' if self.excluded else ''}"


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One labelled structure of a file."""

    index: int
    """Place in the file, counted from 0."""
    label: Label
    """Forces are (0, 3) and stress is (0,) where the file gives none."""
    group: str
    """`config_type` of the file; empty where there is none."""


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """What a file holds that can be used, and what cannot."""

    name: str
    """Name of the file."""
    sha256: str
    """Of the file's content."""
    keys: LabelKeys
    frames: tuple[Frame, ...]
    """In the order of the file, without isolated atoms and frames left out."""
    problems: tuple[Problem, ...]
    elements: tuple[str, ...]
    """Chemical symbols of the frames, by atomic number."""
    isolated: tuple[tuple[str, float], ...] = ()
    """(chemical symbol, energy in eV) of each isolated atom of the file, by atomic number."""
    n_read: int = 0
    """Frames in the file."""

    @property
    def excluded(self) -> tuple[int, ...]:
        """Places of all frames left out, ascending."""
        return tuple(sorted({index for problem in self.problems if problem.excluded for index in problem.frames}))

    def source(self, left_out: tuple[int, ...] = ()) -> DataSource:
        """What a potential keeps of this file; `left_out` are frames that were not used though they are here."""
        named = (("energy", self.keys.energy), ("forces", self.keys.forces), ("stress", self.keys.stress))
        return DataSource(
            file=self.name,
            sha256=self.sha256,
            keys=tuple((quantity, key) for quantity, key in named if key),
            n_read=self.n_read,
            n_used=len(self.frames) - len(left_out),
            left_out=tuple(sorted({*self.excluded, *left_out})),
            isolated_atoms=self.isolated,
        )

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups in the order of their first frame."""
        return tuple(dict.fromkeys(frame.group for frame in self.frames))
