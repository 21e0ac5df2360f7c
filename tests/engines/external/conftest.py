import os
import shutil
from pathlib import Path

import pytest

from hpcmat.engines.external.gth import find_potential, write_potential

TABLE = Path(__file__).with_name("gth-pbe.txt")
PACKAGES = {
    "pw.x": "quantum-espresso quantum-espresso-data",
    "abinit": "abinit abinit-data",
    "cp2k.psmp": "cp2k cp2k-data",
}


def require(program):
    """Skip on a machine of one's own; where everything was to be installed, its absence is a failure."""
    if shutil.which(program) is None:
        reason = f"no {program}: apt-get install {PACKAGES[program]} openmpi-bin"
        (pytest.fail if "HPCMAT_CI" in os.environ else pytest.skip)(reason)


@pytest.fixture(scope="session")
def pw():
    require("pw.x")


@pytest.fixture(scope="session")
def abinit():
    require("abinit")


@pytest.fixture(scope="session")
def cp2k():
    require("cp2k.psmp")


@pytest.fixture(scope="session")
def gth(tmp_path_factory):
    """Folder of GTH-PBE files that both codes read."""
    folder = tmp_path_factory.mktemp("gth")
    for symbol in ("H", "O", "Mg", "Al", "Si"):
        write_potential(find_potential(TABLE, symbol, "PBE"), folder)
    return folder


@pytest.fixture(autouse=True)
def _only_what_packages_bring(monkeypatch):
    for name in (
        "HPCMAT_ESPRESSO",
        "HPCMAT_ABINIT",
        "HPCMAT_CP2K",
        "CP2K_DATA_DIR",
        "HPCMAT_PSEUDOPOTENTIALS",
        "ESPRESSO_PSEUDO",
        "ABI_PSPDIR",
    ):
        monkeypatch.delenv(name, raising=False)
