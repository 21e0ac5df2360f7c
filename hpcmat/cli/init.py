"""`hpcmat init`: a commented campaign file to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hpcmat.cli.common import AsJson, print_json
from hpcmat.errors import InputError, StorageError

TEMPLATE = """\
# A campaign that ends in an interatomic potential. `hpcmat check {file}` prints every setting with its default.

kind = "potential"
name = "{name}"
seed = 1                            # of every random choice

[system]
elements = ["Si"]
# Where exploration begins: crystals, or files that ASE reads, e.g. {{ file = "surface.cif" }}.
structures = [{{ crystal = "diamond", element = "Si", a_ang = 5.47 }}]
# The engine computes this equation of state; the potential is compared with it and never trained on it.
reference = {{ volumes = [0.94, 1.06], points = 7 }}

[engine]
name = "gpaw"                       # or "teacher": any ASE potential in place of first principles
xc = "PBE"
cutoff_ev = 300.0                   # converge both for your material
kpoint_spacing_per_ang = 0.3

[explore]
temperatures_k = [300.0, 600.0, 1000.0]
strain = 0.03                       # largest component of the random strain

[target]
force_rmse_ev_per_ang = 0.1         # on frames drawn at random and never trained on ...
confidence = 0.95                   # ... with this confidence

[budget]
labels = 100                        # first-principles calculations
# node_hours = 50.0
# walltime_s = 86400.0

[governance]
# creators = ["Your Name"]
licence = "CC-BY-4.0"
tier = "closed"                     # "open", "shared" or "closed"
"""

Target = Annotated[Path, typer.Argument(metavar="[FILE]", help="Campaign file to write.")]


def init(file: Target = Path("campaign.toml"), as_json: AsJson = False) -> None:
    """Write a commented campaign file.

    An existing file is never overwritten.
    """
    stem = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in file.stem)
    text = TEMPLATE.format(file=file, name=stem.lstrip("._-") or "campaign")
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise InputError(f"{file} exists; name another file, or remove it first") from None
    except FileNotFoundError:
        raise InputError(f"{file.parent}: no such folder; create it first") from None
    except OSError as error:
        raise StorageError(f"{file}: cannot be written ({error.strerror}); choose another folder") from None
    if as_json:
        print_json({"file": str(file)})
    else:
        print(f"wrote {file}; edit it, then: hpcmat check {file}")
