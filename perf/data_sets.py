"""What the benchmarks on sets made by others share: where the sets are, and whether a potential is what was fitted."""

from __future__ import annotations

import os
from pathlib import Path

from hpcmat.surrogates.dataset import read_dataset
from hpcmat.surrogates.potential import Potential


def data_folder(given: Path | None, name: str) -> Path:
    """Folder of the sets `name`; stops where there is none."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = (given or Path(os.environ.get("HPCMAT_DATA", beside))) / name
    if not folder.is_dir():
        raise SystemExit(f"{folder} is not there: give the folder of the data with --data or HPCMAT_DATA")
    return folder


def check_potential(potential: Potential, train: Path) -> None:
    """Stop where the potential is not what was fitted to `train`, or its kernels and its design matrix disagree."""
    metadata = potential.metadata
    assert metadata.train_file is not None and metadata.train_file.file == train.name
    frame = read_dataset(train).frames[0].label
    design = potential.design(frame.structure)
    predicted = potential.predict(frame.structure)
    assert abs(design.energy @ potential.coefficients - predicted.energy) < 1e-6
    assert abs((design.forces @ potential.coefficients).reshape(-1, 3) - predicted.forces).max() < 1e-6
