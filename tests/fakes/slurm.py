"""A real Slurm on this one machine: a private munged, one slurmctld, some slurmd. Needs root, slurm-wlm and munge."""

import os
import random
import shutil
import socket
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd")

CONFIGURATION = """\
ClusterName=sim
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
FirstJobId={first}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={root}/run/munge.socket
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_min_interval=100000,bf_interval=1,batch_sched_delay=0
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SlurmdTimeout=30
KillWait=2
MinJobAge=300
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool/%n
SlurmctldPidFile={root}/run/slurmctld.pid
SlurmdPidFile={root}/run/slurmd-%n.pid
SlurmctldLogFile={root}/log/slurmctld.log
SlurmdLogFile={root}/log/slurmd-%n.log
PartitionName=small Nodes=ALL Default=YES MaxTime=01:00:00 State=UP
"""


def missing():
    """Programs that this machine lacks."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


def absent(reason):
    """Skip on a machine of one's own; where everything was to be installed, its absence is a failure."""
    (pytest.fail if "HPCMAT_CI" in os.environ else pytest.skip)(reason)


@contextmanager
def running_slurm(root, nodes):
    """Daemons of so many nodes, ended with the block."""
    if lacking := missing():
        absent(f"no {', '.join(lacking)}: apt-get install slurm-wlm munge")
    if os.geteuid() != 0:
        absent("slurmctld and munged are started for this test, which needs root")
    daemons = Slurm(root, nodes)
    try:
        daemons.start()
        yield daemons
    finally:
        daemons.stop()


class Slurm:
    """Nodes sim1, sim2, ... of two cores each; `conf` is for SLURM_CONF."""

    def __init__(self, root, nodes):
        self.root = Path(root)
        for name in ("state", "spool", "log", "run"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o755)
        self.conf = self.root / "slurm.conf"
        self.names = [f"sim{number}" for number in range(1, nodes + 1)]
        self.environment = {**os.environ, "SLURM_CONF": str(self.conf)}
        self._write_configuration()

    def start(self):
        self._start_munge()
        self._call("slurmctld")
        for name in self.names:
            self._start_node(name)
        while set(self._call("sinfo", "-h", "-o", "%T").split()) != {"idle"}:
            pass

    def stop(self):
        """Cancel what runs and end all daemons, the one that signs messages last."""
        self.cancel_all()
        for pattern in ("slurm*.pid", "munged.pid"):
            _end([int(file.read_text()) for file in (self.root / "run").glob(pattern)])

    def daemon(self, name):
        """Process of the daemon of a node, or of `slurmctld`."""
        file = "slurmctld.pid" if name == "slurmctld" else f"slurmd-{name}.pid"
        return psutil.Process(int((self.root / "run" / file).read_text()))

    def _runs(self, name):
        """Whether the daemon of a node is there; one that was killed may be for a moment longer, as a zombie."""
        try:
            daemon = self.daemon(name)
            return daemon.name() == "slurmd" and daemon.status() not in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}
        except psutil.NoSuchProcess:
            return False

    @property
    def answers(self):
        """Whether the scheduler's daemon is there and not stopped."""
        return self.daemon("slurmctld").status() != psutil.STATUS_STOPPED

    def node_state(self, name):
        """State of a node in one word: idle, allocated, down, ..."""
        return self._call("sinfo", "-h", "-n", name, "-o", "%T").rstrip("*")

    def set_down(self, name):
        """Tell the scheduler that a node has failed."""
        self._call("scontrol", "update", f"nodename={name}", "state=down", "reason=test")

    def resume(self, name):
        """Start the daemon of a node where it is gone, and give the node back."""
        if not self._runs(name):
            self._start_node(name)
        # Refused where the node came back by itself.
        self._call("scontrol", "update", f"nodename={name}", "state=resume", check=False)

    def release(self):
        """What an administrator does for jobs that lost their node: Slurm delays them by two minutes, or holds them.

        A node on which a job could not be begun is drained, one whose daemon does not answer is down.
        """
        for job in self._call("squeue", "-h", "-t", "pending", "-o", "%i").split():
            self._call("scontrol", "release", job, check=False)
            self._call("scontrol", "update", f"jobid={job}", "starttime=now", check=False)
        for name in self.names:
            if self.node_state(name) in {"drained", "down"}:
                self.resume(name)

    def queued(self):
        """Ids of the jobs that wait or run."""
        return self._call("squeue", "-h", "-o", "%i").split()

    def cancel_all(self):
        """End every job."""
        if ids := self.queued():
            self._call("scancel", *ids)
            self.await_jobs()

    def steps(self, job):
        """Nodes on which steps of a job run, its script left out."""
        names = self._call("squeue", "-h", "-s", f"--jobs={job}", "-o", "%i %N").splitlines()
        busy = [line.split()[1] for line in names if not line.startswith(f"{job}.batch")]
        return [name for listed in busy for name in self._call("scontrol", "show", "hostnames", listed).split()]

    def cancel(self, job):
        """End a job as its owner would."""
        self._call("scancel", job)

    def await_idle(self):
        """Return when all nodes can be used, those that were set down included."""
        while set(self._call("sinfo", "-h", "-o", "%T").split()) != {"idle"}:
            for name in self.names:
                self._call("scontrol", "update", f"nodename={name}", "state=resume", check=False)

    def states(self):
        """State of each job by its id."""
        lines = self._call("scontrol", "show", "job", "--oneliner").splitlines()
        pairs = [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines]
        return {job["JobId"]: job["JobState"] for job in pairs if "JobId" in job}

    def await_jobs(self):
        """Return when no job is left in the queue."""
        while ids := self.queued():
            self._call(
                "sbatch", "--wait", "--output=/dev/null", f"--dependency=afterany:{':'.join(ids)}", "--wrap=true"
            )

    def _start_node(self, name):
        (self.root / "spool" / name).mkdir(exist_ok=True)
        self._call("slurmd", "-N", name)

    def _call(self, *command, check=True):
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=check)
        return done.stdout.strip()

    def _start_munge(self):
        key = self.root / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        run, log = self.root / "run", self.root / "log"
        self._call(
            "munged", "--force", "--num-threads=2", f"--key-file={key}", f"--socket={run}/munge.socket",
            f"--pid-file={run}/munged.pid", f"--log-file={log}/munged.log", f"--seed-file={self.root}/munge.seed",
        )  # fmt: skip

    def _write_configuration(self):
        ports = [_free_port() for _ in range(len(self.names) + 1)]
        host = socket.gethostname().split(".")[0]
        nodes = [
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=1000 State=UNKNOWN\n"
            for name, port in zip(self.names, ports[1:], strict=True)
        ]
        # MPICH names its shared memory by job and step, and what killed ranks leave of it is not for the next Slurm.
        first = random.SystemRandom().randrange(10_000, 60_000_000)
        text = CONFIGURATION.format(host=host, port=ports[0], root=self.root, first=first)
        before, partition = text.split("PartitionName", 1)
        self.conf.write_text(before + "".join(nodes) + "PartitionName" + partition)


def _end(pids):
    daemons = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    for daemon in daemons:
        with suppress(psutil.NoSuchProcess):
            daemon.terminate()
    psutil.wait_procs(daemons, timeout=30)


def _free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
