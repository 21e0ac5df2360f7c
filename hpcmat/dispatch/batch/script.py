"""The exact script of an allocation and the command that submits it: pure functions of site and request."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hpcmat.dispatch.batch.request import AllocationRequest, account_of, batch_of, choose_queue, clock
from hpcmat.dispatch.site_model import ACCOUNT_OPTIONS, NODE_REQUESTS, Kind, Queue, Site
from hpcmat.errors import InputError

DRAIN_VARIABLE = "HPCMAT_DRAIN_AT"
"""Seconds since the epoch at which a driver in this allocation begins nothing more."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}")
"""PJM allows 63 bytes and a letter first; the others allow this and more."""


@dataclass(frozen=True, slots=True)
class BatchJob:
    """A script, and the command that submits it, to which the path of the script is added."""

    script: str
    command: tuple[str, ...]
    queue: str


@dataclass(frozen=True, slots=True)
class Ask:
    """A request with all that its site adds."""

    request: AllocationRequest
    queue: Queue
    nodes: str
    """The option that asks for nodes."""
    account: str
    """The option that names the account; empty without one, or where it goes on the command."""
    options: tuple[str, ...]


def batch_job(site: Site, request: AllocationRequest) -> BatchJob:
    """Script and submission command.

    Raises
    ------
    InputError
        No queue grants the request, an account is missing, or a number that the script needs is not in the site file.
    """
    if not _NAME.fullmatch(request.name):
        raise InputError(f"job name '{request.name}': use 63 or fewer of A-Z a-z 0-9 - _ . with a letter first")
    batch = batch_of(site)
    queue = choose_queue(site, request)
    account = account_of(site, request)
    option = (batch.account_option or ACCOUNT_OPTIONS[site.kind]).format(account=account) if account else ""
    outside = batch.account_outside_script
    options = (*_volumes(site, request), *batch.options)
    ask = Ask(request, queue, _nodes(site, request, queue), "" if outside else option, options)
    shell = "#!/bin/bash -l" if batch.login_shell else "#!/bin/bash"
    lines = [shell, *_DIRECTIVES[site.kind](ask), "", *_body(site, request)]
    script = "\n".join(lines) + "\n"
    _check_rules(site, script)
    return BatchJob(script, (_COMMANDS[site.kind], *(shlex.split(option) if outside else ())), queue.name)


def _check_rules(site: Site, script: str) -> None:
    if batch_of(site).rules != "fugaku":
        return
    from hpcmat.dispatch.providers.pjm.rules import violations

    if broken := violations(script):
        first = broken[0]
        raise InputError(f"site '{site.name}' would refuse this script ({first.rule}, {first.source}): {first.message}")


def _volumes(site: Site, request: AllocationRequest) -> list[str]:
    """Fugaku mounts in a job only the data volumes that it names."""
    volumes = batch_of(site).volumes
    if not volumes:
        return []
    used = re.findall(r"/vol\d{4}", request.folder + request.body)
    return [f"-x PJM_LLIO_GFSCACHE={':'.join(sorted({*volumes, *used}))}"]


def _nodes(site: Site, request: AllocationRequest, queue: Queue) -> str:
    template = queue.node_request or batch_of(site).node_request or NODE_REQUESTS[site.kind]
    if "{cores}" in template and site.cores_per_node == "auto":
        raise InputError(f"{site.label}: cores_per_node: its scheduler must be told; write the number")
    return template.format(
        nodes=request.nodes,
        cores=site.cores_per_node,
        ranks=request.ranks_per_node,
        gpus=site.gpus_per_node,
        queue=queue.name,
    )


def _body(site: Site, request: AllocationRequest) -> list[str]:
    margin = drain_margin_s(request.walltime_s)
    return [
        f"cd {shlex.quote(request.folder)} || exit 1",
        f"export {DRAIN_VARIABLE}=$(( $(date +%s) + {request.walltime_s - margin} ))",
        *(f"export {name}={shlex.quote(value)}" for name, value in site.environment.items()),
        *site.setup,
        request.body,
    ]


def drain_margin_s(walltime_s: int) -> int:
    """Time left for running tasks to end and the campaign to be closed, s: a tenth, at most ten minutes."""
    return min(walltime_s // 10, 600)


def _named(ask: Ask, option: str) -> list[str]:
    return [] if ask.queue.name == "default" else [option.format(ask.queue.name)]


def drain_time(environment: Mapping[str, str]) -> float | None:
    """When a driver begins nothing more, seconds since the epoch; None outside the allocations of our scripts."""
    text = environment.get(DRAIN_VARIABLE, "")
    return float(text) if text.isdigit() else None


def slurm_directives(ask: Ask) -> list[str]:
    """Lines for sbatch (https://slurm.schedmd.com/sbatch.html)."""
    request = ask.request
    options = [
        f"--job-name={request.name}",
        *_named(ask, "--partition={}"),
        *ask.nodes.split(),
        f"--time={clock(request.walltime_s)}",
        *([ask.account] if ask.account else []),
        # The driver goes on without a node that fails.
        *(["--no-kill"] if request.nodes > 1 else []),
        f"--output={shlex.quote(f'{request.folder}/{request.name}.%j.out')}",
        *ask.options,
    ]
    return [f"#SBATCH {option}" for option in options]


def pbs_directives(ask: Ask) -> list[str]:
    """Lines for the qsub of PBS (https://github.com/openpbs/openpbs, doc/man1/qsub.1B)."""
    request = ask.request
    options = [
        f"-N {request.name}",
        *_named(ask, "-q {}"),
        f"-l {ask.nodes}",
        f"-l walltime={clock(request.walltime_s)}",
        *([ask.account] if ask.account else []),
        "-j oe",
        *ask.options,
    ]
    return [f"#PBS {option}" for option in options]


def pjm_directives(ask: Ask) -> list[str]:
    """Lines for pjsub (Fujitsu Job Operation Software End-user's Guide, J2UL-2534).

    No `-o` and `-e`: the manuals of product and installation disagree on them, and the default names are known.
    """
    request = ask.request
    guaranteed = "" if request.guaranteed_s is None else f"{clock(request.guaranteed_s)}-"
    ranks = request.ranks_per_node
    options = [
        f"--name {request.name}",
        f'-L "{ask.nodes}"',
        f'-L "rscgrp={ask.queue.name}"',
        f'-L "elapse={guaranteed}{clock(request.walltime_s)}"',
        *([ask.account] if ask.account else []),
        f'--mpi "proc={ranks * request.nodes},max-proc-per-node={ranks}"',
        "-j",
        "-S",
        *ask.options,
    ]
    return [f"#PJM {option}" for option in options]


def gridengine_directives(ask: Ask) -> list[str]:
    """Lines for the qsub of Grid Engine, where a queue is a resource type of which some are asked for."""
    request = ask.request
    options = [
        f"-N {request.name}",
        "-cwd",
        f"-l {ask.nodes}",
        f"-l h_rt={clock(request.walltime_s)}",
        *([ask.account] if ask.account else []),
        "-j y",
        *ask.options,
    ]
    return [f"#$ {option}" for option in options]


_DIRECTIVES: dict[Kind, Callable[[Ask], list[str]]] = {
    "slurm": slurm_directives,
    "pbs": pbs_directives,
    "pjm": pjm_directives,
    "gridengine": gridengine_directives,
}
_COMMANDS: dict[Kind, str] = {"slurm": "sbatch", "pbs": "qsub", "pjm": "pjsub", "gridengine": "qsub"}
