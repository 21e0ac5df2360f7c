"""Design rows of labels: made when they are asked for, kept while they fit in memory, and made again where they do not.

A structure has fewer rows than there are features, as a rule, so that its rows are its smallest sufficient statistics:
to drop it or to weigh it anew needs nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hpcmat.records import Label
from hpcmat.surrogates.ace import AceBasis, cell_volume, unit_stress_offset
from hpcmat.surrogates.baseline import fit_baseline
from hpcmat.surrogates.rows import Observations
from hpcmat_kernels.threads import in_parallel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

KEPT_BYTES = 1_500_000_000
"""Memory of a process for rows that are kept from the first pass over the structures to the second."""


@dataclass(frozen=True, eq=False)
class LabelRows:
    """Rows of labels in the order energy per atom, forces, stress where there is one.

    The first column is that of the stress offset: with an upper triangular factor of the covariance, leaving it out is
    leaving out the first row and column.
    """

    labels: tuple[Label, ...]
    basis: AceBasis
    targets: Floats
    """(3,) target errors of energy per atom, force and stress components."""
    threads: int = 1
    seen: frozenset[int] = frozenset()
    """Labels that the basis was trained on."""
    dropped: frozenset[int] = frozenset()
    kept: dict[int, Floats] = field(default_factory=dict)
    """Rows by label, shared between the sources that differ in what they drop."""

    def without(self, dropped: frozenset[int]) -> LabelRows:
        """The same labels, of which some are scored and not fitted."""
        return replace(self, dropped=dropped)

    def alone(self) -> LabelRows:
        """The same rows, made without other threads."""
        return replace(self, threads=1)

    @cached_property
    def counts(self) -> Ints:
        """Rows of each label."""
        return np.array([len(self._kind(label)) for label in self.labels])

    def sigma(self, index: int) -> Floats:
        """Target error of each row of a label."""
        return self.targets[self._kind(self.labels[index])]

    @cached_property
    def included(self) -> NDArray[np.bool_]:
        """Labels that are fitted."""
        return np.array([index not in self.dropped for index in range(len(self.labels))])

    @cached_property
    def telling(self) -> NDArray[np.bool_]:
        """Labels whose left-out residuals tell the noise: those that neither basis nor coefficients have seen."""
        return np.array([index not in self.seen for index in range(len(self.labels))])

    @cached_property
    def baseline(self) -> Floats:
        """Energy per atom of each element (species,) eV, of isolated atoms or from the labels that are fitted.

        Total energies of thousands of eV per atom are taken off before the fit: the features then see only
        differences, and the sums of squares keep their digits.
        """
        labels = [label for label, fitted in zip(self.labels, self.included, strict=True) if fitted]
        counts = np.array([self._composition(label) for label in labels])
        return fit_baseline(counts, np.array([label.energy for label in labels]), self.basis.atom_energies)

    def blocks(self, structures: list[int]) -> list[Observations]:
        """Rows and targets of some labels; raises InputError for a geometry that cannot be right."""
        made: dict[int, Floats] = {}
        missing = [index for index in structures if index not in self.kept]

        def work(piece: tuple[int, int]) -> None:
            made.update({index: self._rows(self.labels[index]) for index in missing[slice(*piece)]})

        in_parallel(work, len(missing), min(self.threads, max(len(missing), 1)))
        blocks = [self._block(index, self.kept[index] if index in self.kept else made[index]) for index in structures]
        self._keep(made)
        return blocks

    def _keep(self, made: dict[int, Floats]) -> None:
        room = KEPT_BYTES - sum(rows.nbytes for rows in list(self.kept.values()))
        for index in sorted(made):
            room -= made[index].nbytes
            if room >= 0:
                self.kept[index] = made[index]

    def _rows(self, label: Label) -> Floats:
        design, n = self.basis.design(label.structure), len(label.structure)
        n_stress = np.count_nonzero(self._kind(label) == 2)
        fitted = self.basis.fitted
        rows = np.zeros((1 + 3 * n + n_stress, 1 + len(fitted)))
        rows[0, 1:] = design.energy[fitted] / n
        rows[1 : 1 + 3 * n, 1:] = design.forces[:, fitted]
        rows[1 + 3 * n :, 1:] = design.stress[:n_stress, fitted]
        rows[1 + 3 * n :, 0] = unit_stress_offset(label.structure)[:n_stress]
        return rows

    def _block(self, index: int, rows: Floats) -> Observations:
        label = self.labels[index]
        kind = self._kind(label)
        energy = (label.energy - float(self._composition(label) @ self.baseline)) / len(label.structure)
        targets = np.concatenate([[energy], np.ravel(label.forces), label.stress])[: len(kind)]
        return Observations(rows, targets, self.targets[kind], kind, np.full(len(kind), index))

    def _kind(self, label: Label) -> Ints:
        has_stress = len(label.stress) and cell_volume(label.structure)
        return np.repeat([0, 1, 2], [1, 3 * len(label.structure), 6 if has_stress else 0])

    def _composition(self, label: Label) -> Floats:
        species = self.basis.species(label.structure.symbols)
        return np.bincount(species, minlength=self.basis.model.n_species).astype(float)
