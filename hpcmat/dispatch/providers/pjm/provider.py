"""Parsl's execution provider for PJM."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Sequence
from pathlib import Path

from parsl.jobs.states import JobState, JobStatus
from parsl.launchers import SimpleLauncher
from parsl.launchers.base import Launcher
from parsl.providers.cluster_provider import ClusterProvider
from parsl.providers.errors import SubmitException
from parsl.utils import RepresentationMixin

from hpcmat.dispatch.providers.pjm.codes import JobEnd, sentence
from hpcmat.dispatch.providers.pjm.commands import GarbledAnswer, NoAnswer, PjmCommands, Refused
from hpcmat.dispatch.providers.pjm.watch import JobWatch, Watched

_log = logging.getLogger(__name__)
_LONGEST_NAME = 63

_TEMPLATE = """#!/bin/bash
#PJM --name ${jobname}
#PJM -L "node=${nodes}"
#PJM -L "rscgrp=${resource_group}"
#PJM -L "elapse=${elapse}"
#PJM --mpi "proc=${processes},max-proc-per-node=${tasks_per_node}"
#PJM -S
${scheduler_options}

${worker_init}

export JOBNAME="${jobname}"

${user_script}
"""


class PJMProvider(ClusterProvider, RepresentationMixin):  # type: ignore[misc]
    """PJM execution provider: pjsub to submit, pjwait and pjstat to ask, pjdel to cancel.

    The PJM commands exist on login nodes only, so Parsl must run there. The end of a block, with its PJM code, is in
    `resources[job_id]["end"]`.

    Parameters
    ----------
    resource_group : str
        Resource group to request blocks from (``rscgrp``).
    group : str
        Group to charge (``-g``); sites with one group for each user need none.
    nodes_per_block : int
        Nodes to provision per block.
    node_shape : str
        Nodes as PJM's shape, such as ``2x3x2:torus``; empty for their number alone.
    cores_per_node : int
        Cores of a node, for executors that share them out.
    mem_per_node : float
        Memory of a node in GB, for executors that share it out; PJM grants whole nodes.
    init_blocks, min_blocks, max_blocks, parallelism
        As for all providers.
    walltime : str
        Elapse limit of a block, HH:MM:SS.
    guaranteed_walltime : str
        Least elapse time, HH:MM:SS: the block waits for no more than this, and may be ended afterwards for another
        job (PJM code 18, a TIMEOUT for Parsl). None where all of `walltime` is guaranteed.
    scheduler_options : str
        Further lines for the script, such as ``#PJM -x PJM_LLIO_GFSCACHE=/vol0004``.
    submit_options : sequence of str
        Options of pjsub itself, such as ``--no-check-directory``.
    worker_init : str
        Shell text run before the workers.
    cmd_timeout : float
        Seconds after which a PJM command counts as not answering; the states of jobs then stay as they were.
    polling_interval : int
        Seconds between looks at the jobs.
    launcher : Launcher
        Starts the workers on the nodes of a block.
    """

    def __init__(  # noqa: PLR0913 - Parsl's providers take their settings one by one
        self,
        resource_group: str,
        group: str | None = None,
        nodes_per_block: int = 1,
        node_shape: str = "",
        cores_per_node: int | None = None,
        mem_per_node: float | None = None,
        init_blocks: int = 1,
        min_blocks: int = 0,
        max_blocks: int = 1,
        parallelism: float = 1,
        walltime: str = "01:00:00",
        guaranteed_walltime: str | None = None,
        scheduler_options: str = "",
        submit_options: Sequence[str] = (),
        worker_init: str = "",
        cmd_timeout: float = 10,
        polling_interval: int = 15,
        launcher: Launcher | None = None,
    ) -> None:
        chosen = launcher or SimpleLauncher()
        blocks = (nodes_per_block, init_blocks, min_blocks, max_blocks, parallelism)
        super().__init__("pjm", *blocks, walltime, launcher=chosen, cmd_timeout=cmd_timeout)
        self.resource_group = resource_group
        self.group = group
        self.node_shape = node_shape
        self.cores_per_node = cores_per_node
        self.mem_per_node = mem_per_node
        self.guaranteed_walltime = guaranteed_walltime
        self.scheduler_options = scheduler_options
        self.submit_options = tuple(submit_options)
        self.worker_init = worker_init
        self.polling_interval = polling_interval
        self._commands = PjmCommands(cmd_timeout)
        self._watch = JobWatch(self._commands)
        self._to_delete: set[str] = set()

    def submit(self, command: str, tasks_per_node: int, job_name: str = "parsl.pjm") -> str:
        """Submit one block; returns its job id.

        Raises
        ------
        SubmitException
            PJM refused the job, or did not answer clearly; in the second case there may be one all the same.
        """
        assert self.script_dir, "Expected script_dir to be set"
        name = valid_name(f"{job_name}.{time.time():.6f}")
        script = Path(self.script_dir).absolute() / f"{name}.sh"
        self._write_submit_script(_TEMPLATE, str(script), name, self._settings(command, tasks_per_node))
        try:
            job = self._commands.submit(script, *self.submit_options)
        except Refused as error:
            raise SubmitException(name, "refused by PJM", stderr=str(error), retcode=1) from error
        except (NoAnswer, GarbledAnswer) as error:
            raise SubmitException(name, f"no clear answer, pjstat may know a job of this name: {error}") from error
        self._watch.add(job)
        output = script.with_name(f"{name}.{job}")
        self.resources[job] = {"job_id": job, "output": str(output), "end": None, "status": None}
        self._publish(job)
        return job

    def cancel(self, job_ids: Sequence[str]) -> list[bool]:
        """Delete jobs. One that is just starting or ending cannot be deleted, which is False; it is tried again."""
        return [self._delete(job) for job in job_ids]

    @property
    def status_polling_interval(self) -> int:
        """Seconds between two looks at the jobs."""
        return self.polling_interval

    def _status(self) -> None:
        for job in sorted(self._to_delete):
            self._delete(job)
        self._watch.refresh()
        for job in self.resources:
            self._publish(job)

    def _delete(self, job: str) -> bool:
        if self._watch.jobs[job].ended:
            self._to_delete.discard(job)
            return True
        try:
            deleted = self._commands.delete(job, reason="scaled in by Parsl")
        except NoAnswer as error:
            _log.warning("job %s: deletion is asked for again: %s", job, error)
            deleted = False
        except Refused as error:
            _log.error("job %s is not deleted: %s", job, error)
            return False
        if not deleted:
            self._to_delete.add(job)
            return False
        self._to_delete.discard(job)
        self._watch.cancelled(job)
        self._publish(job)
        return True

    def _publish(self, job: str) -> None:
        resource, known = self.resources[job], self._watch.jobs[job]
        resource["end"] = known.end
        resource["status"] = _status_of(known, resource["output"])

    def _settings(self, command: str, tasks_per_node: int) -> dict[str, object]:
        options = [f"#PJM -g {self.group}"] if self.group else []
        init = [f"export PARSL_MEMORY_GB={self.mem_per_node}"] if self.mem_per_node is not None else []
        if self.cores_per_node is not None:
            init.append(f"export PARSL_CORES={self.cores_per_node // tasks_per_node}")
        guaranteed = f"{self.guaranteed_walltime}-" if self.guaranteed_walltime else ""
        return {
            "nodes": self.node_shape or self.nodes_per_block,
            "resource_group": self.resource_group,
            "elapse": f"{guaranteed}{self.walltime}",
            "processes": tasks_per_node * self.nodes_per_block,
            "tasks_per_node": tasks_per_node,
            "scheduler_options": "\n".join([*options, self.scheduler_options]).strip(),
            "worker_init": "\n".join([*init, self.worker_init]).strip(),
            "user_script": self.launcher(command, tasks_per_node, self.nodes_per_block, self.script_dir),
        }


def valid_name(name: str) -> str:
    """A job name that PJM takes: a letter, then up to 62 of letters, digits, `-`, `_` and `.`."""
    kept = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
    return (kept if kept[:1].isalpha() else f"p{kept}")[:_LONGEST_NAME]


def _status_of(known: Watched, output: str) -> JobStatus:
    end: JobEnd | None = known.end
    message = sentence(end) if end is not None else None
    exit_code = end.exit_code if end is not None and end.code == 0 else None
    if known.state is JobState.CANCELLED and end is None:
        message = "deleted"
    return JobStatus(known.state, message, exit_code, f"{output}.out", f"{output}.err")
