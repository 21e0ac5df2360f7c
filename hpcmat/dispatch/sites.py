"""Sites: what a machine offers, as a file apart from the campaign, so that one campaign runs anywhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hpcmat.dispatch.site_model import Site, check_site
from hpcmat.errors import InputError
from hpcmat.toml_input import did_you_mean, parse_model, read_toml

__all__ = ["Machine", "Site", "describe_machine", "known_sites", "load_site", "total_memory_gib", "usable_cores"]

JOB_VARIABLES = {"slurm": "SLURM_JOB_ID", "pbs": "PBS_JOBID", "pjm": "PJM_JOBID", "gridengine": "JOB_ID"}
"""Variable that each scheduler sets inside an allocation."""


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
    check_site(site)
    return site


def known_sites() -> dict[str, Path]:
    """File of each site that can be named."""
    found: dict[str, Path] = {}
    for folder in _site_folders():
        for path in sorted(folder.glob("*.toml")):
            found.setdefault(path.stem, path)
    return found


def describe_machine(site: Site) -> Machine:
    """Numbers for one node of a site. Where the file says `auto`, this machine is asked if it is the site, else Slurm.

    Raises
    ------
    InputError
        One worker needs more cores than the node has, or a number of another machine is not to be had.
    """
    cores, memory = site.cores_per_node, site.memory_gib
    if cores == "auto" or memory == "auto":
        told_cores, told_memory = _asked(site)
        cores = told_cores if cores == "auto" else cores
        memory = told_memory if memory == "auto" else memory
    return Machine(_workers(site, cores), site.cores_per_worker, cores, memory)


def machine_here(site: Site, environment: Mapping[str, str] = os.environ) -> Machine:
    """Numbers of the node on which a driver of this site is about to run.

    Raises
    ------
    InputError
        The site has a scheduler and this process is in no allocation of it, or a worker needs more cores than it has.
    """
    if site.kind == "local":
        return describe_machine(site)
    variable = JOB_VARIABLES[site.kind]
    if variable not in environment:
        raise InputError(
            f"site '{site.name}' runs campaigns in allocations, and {variable} is not set here; "
            f"use `hpcmat submit CAMPAIGN --site {site.name}`, or --site local for this machine"
        )
    cores = usable_cores()
    return Machine(_workers(site, cores), site.cores_per_worker, cores, total_memory_gib())


def _asked(site: Site) -> tuple[int, float]:
    """Cores and memory of a node."""
    if site.kind == "local":
        return usable_cores(), total_memory_gib()
    if site.kind == "slurm" and site.batch is not None:
        from hpcmat.dispatch.batch.scheduler import slurm_node

        if (told := slurm_node(site.batch.queues[0].name)) is not None:
            return told
    raise InputError(
        f'{site.label}: cores_per_node, memory_gib: "auto", but a node of this site is not the machine you type on; '
        "write the numbers"
    )


def _workers(site: Site, cores: int) -> int:
    if site.cores_per_worker > cores:
        raise InputError(
            f"{site.label}: cores_per_worker: {site.cores_per_worker} exceeds the {cores} cores of a node; lower it"
        )
    return cores // site.cores_per_worker if site.workers == "auto" else site.workers


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
