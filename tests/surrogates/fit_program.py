"""The fit on the ranks of mpiexec: `python fit_program.py asked.pickle FOLDER`; each rank writes what it got."""

import pickle
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hpcmat.dispatch.mpi import MpiCommunicator
from hpcmat.surrogates.ace import AceBasis
from hpcmat.surrogates.fitting import fit_potential


@dataclass
class Counting:
    """Structures whose rows were asked for."""

    designed: list = field(default_factory=list)

    def install(self):
        design = AceBasis.design

        def counted(basis, structure):
            self.designed.append(structure.positions.tobytes())
            return design(basis, structure)

        AceBasis.design = counted


def main(asked, folder):
    ranks = MpiCommunicator()
    labels, settings = pickle.loads(asked.read_bytes())
    counting = Counting()
    counting.install()
    try:
        fit = fit_potential(labels, settings, communicator=ranks)
        answer = {
            "coefficients": fit.potential.coefficients,
            "factor": fit.potential.covariance_factor,
            "noise": fit.potential.noise,
            "scales": np.append(fit.posterior.alpha, fit.posterior.beta),
            "dropped": fit.dropped,
            "designed": [
                sum(label.structure.positions.tobytes() == done for done in counting.designed) for label in labels
            ],
        }
    except ValueError as error:
        answer = {"error": str(error)}
    (folder / f"{ranks.rank}.pickle").write_bytes(pickle.dumps(answer | {"size": ranks.size}))


if __name__ == "__main__":
    MpiCommunicator().run(lambda: main(Path(sys.argv[1]), Path(sys.argv[2])))
