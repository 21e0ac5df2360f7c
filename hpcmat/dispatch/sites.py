"""Sites: what a machine offers, as a file apart from the campaign, so that one campaign runs anywhere."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from hpcmat.errors import InputError
from hpcmat.toml_input import did_you_mean, parse_model, read_toml

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]


class Site(BaseModel):
    """A machine as its file describes it; `auto` is what the machine says of itself."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    name: str = Field(min_length=1, description="Name of the site.")
    description: str = Field(default="", description="One sentence for whoever chooses a site.")
    kind: Literal["local"] = Field(default="local", description="How processors are got: this machine.")
    workers: Count | Literal["auto"] = Field(
        default="auto", description="Tasks that run at once; auto fills the cores."
    )
    cores_per_worker: Count = Field(default=1, description="Cores of one task.")
    cores_per_node: Count | Literal["auto"] = Field(
        default="auto", description="Cores of one node: node-hours are cores / cores per node × hours."
    )
    memory_gib: Positive | Literal["auto"] = Field(default="auto", description="Memory of one node, GiB.")
    launcher: Literal["none"] = Field(
        default="none", description="What starts the processes of a task: none, since a task is one process."
    )
    environment: dict[str, str] = Field(default={}, description="Variables set for every task.")
    setup: tuple[str, ...] = Field(default=(), description="Shell lines run before the workers start.")

    _source: Path | None = PrivateAttr(default=None)

    @property
    def source(self) -> Path | None:
        """File that described the site."""
        return self._source


@dataclass(frozen=True, slots=True)
class Machine:
    """A site with every `auto` replaced by a number."""

    workers: int
    cores_per_worker: int
    cores_per_node: int
    memory_gib: float


def load_site(name_or_path: str | Path = "local") -> Site:
    """Site by its name (of a file in `jobs/sites`) or by the path of its file.

    Names are sought in the checkout first, since an editable installation copies `jobs` only once.

    Raises
    ------
    InputError
        Where no such site is known, or its file is wrong.
    """
    path = _find(str(name_or_path))
    site = parse_model(Site, read_toml(path), path)
    site._source = path
    return site


def known_sites() -> dict[str, Path]:
    """File of each site that can be named."""
    found: dict[str, Path] = {}
    for folder in _site_folders():
        for path in sorted(folder.glob("*.toml")):
            found.setdefault(path.stem, path)
    return found


def describe_machine(site: Site) -> Machine:
    """Numbers for a site, asking this machine where the file says `auto`.

    Raises
    ------
    InputError
        Where one worker needs more cores than the node has.
    """
    usable = usable_cores()
    cores = usable if site.cores_per_node == "auto" else site.cores_per_node
    if site.cores_per_worker > cores:
        raise InputError(
            f"{site.source or site.name}: cores_per_worker: {site.cores_per_worker} exceeds the {cores} cores of a "
            "node; lower it"
        )
    workers = cores // site.cores_per_worker if site.workers == "auto" else site.workers
    memory = total_memory_gib() if site.memory_gib == "auto" else site.memory_gib
    return Machine(workers, site.cores_per_worker, cores, memory)


def usable_cores() -> int:
    """Cores this process may use: affinity (taskset, batch systems), then the quota of its control group."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, _quota_cores(Path("/sys/fs/cgroup/cpu.max"), allowed)))


def total_memory_gib() -> float:
    """Memory of this machine, GiB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _quota_cores(file: Path, otherwise: int) -> int:
    """Whole cores of a `quota period` line; containers limit time, not affinity."""
    try:
        quota, period = file.read_text().split()
    except (OSError, ValueError):
        return otherwise
    return otherwise if quota == "max" else int(quota) // int(period)


def _site_folders() -> list[Path]:
    checkout = Path(__file__).resolve().parents[2] / "jobs" / "sites"
    installed = Path(sys.prefix) / "share" / "hpcmat" / "jobs" / "sites"
    return [folder for folder in (checkout, installed) if folder.is_dir()]


def _find(name_or_path: str) -> Path:
    sites = known_sites()
    if name_or_path in sites:
        return sites[name_or_path]
    path = Path(name_or_path)
    if path.suffix == ".toml" or path.is_file():
        return path
    hint = did_you_mean(name_or_path, sites)
    raise InputError(
        f"unknown site '{name_or_path}'; {hint + ' ' if hint else ''}known: {', '.join(sites) or 'none'}; "
        "or give the path of a site file"
    )
