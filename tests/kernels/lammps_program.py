"""Run LAMMPS on the jobs in a file and write what it finds; a process of its own, since LAMMPS may end it.

Usage: lammps_program.py JOBS RESULTS. Each job has the cell (lower triangle), positions and types of atoms, commands
that define the pair style, and how many steps to run. A job that LAMMPS refuses has its message as result.
"""

import pickle
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "perf"))
from lammps_peer import BAR_PER_EV_ANG3

from hpcmat_kernels.lammps.library import import_lammps

lammps = import_lammps()


def setup(job):
    """Commands that fill the box."""
    h = job["cell"].tolist()
    n_types = job.get("n_types", 1)
    return f"""
    units {job.get("units", "metal")}
    newton {job.get("newton", "on")}
    atom_modify map array sort 0 0.0
    region box prism 0 {h[0][0]} 0 {h[1][1]} 0 {h[2][2]} {h[1][0]} {h[2][0]} {h[2][1]}
    create_box {n_types} box
    mass * 28.0
    """


OUTPUT = """
compute e all pe/atom
compute s all stress/atom NULL virial
compute p all pressure NULL virial
thermo_style custom step temp pe etotal c_p[*]
timestep 0.00025
fix move all nve
"""


def run(job):
    """Energies, forces and virial after the last step."""
    engine = lammps.lammps(cmdargs=["-screen", "none", "-log", "none"])
    engine.commands_string(setup(job))
    n, h = len(job["positions"]), job["cell"]
    inside = np.linalg.solve(h.T, job["positions"].T).T
    wrapped = (inside - np.floor(inside)) @ h
    engine.create_atoms(n, list(range(1, n + 1)), (np.asarray(job["types"]) + 1).tolist(), wrapped.ravel().tolist())
    engine.commands_string(f"plugin load {job['plugin']}\n" + job["pair"] + OUTPUT)
    engine.command(f"run {job.get('steps', 0)}")
    volume = engine.get_thermo("vol")
    pressure = engine.numpy.extract_compute("p", lammps.LMP_STYLE_GLOBAL, lammps.LMP_TYPE_VECTOR).copy()
    answer = {
        "positions": np.array(engine.gather_atoms("x", 1, 3)).reshape(n, 3),
        "forces": np.array(engine.gather_atoms("f", 1, 3)).reshape(n, 3),
        "site_energies": np.array(engine.gather("c_e", 1, 1)),
        "site_stress": np.array(engine.gather("c_s", 1, 6)).reshape(n, 6) / BAR_PER_EV_ANG3,
        "energy": engine.get_thermo("pe"),
        "total": engine.get_thermo("etotal"),
        "virial": -pressure[[0, 1, 2, 5, 4, 3]] * volume / BAR_PER_EV_ANG3,
        "ranks": engine.extract_setting("world_size"),
        "rank": engine.extract_setting("world_rank"),
        "local": engine.extract_setting("nlocal"),
    }
    engine.close()
    return answer


def main():
    """Run all jobs; the first rank writes."""
    jobs = pickle.loads(Path(sys.argv[1]).read_bytes())
    answers, first = [], True
    for job in jobs:
        try:
            answers.append(run(job))
            first = answers[-1]["rank"] == 0
        except Exception as error:  # noqa: BLE001 - LAMMPS raises nothing more special
            answers.append(str(error))
    if first:
        Path(sys.argv[2]).write_bytes(pickle.dumps(answers))


main()
