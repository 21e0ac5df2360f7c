"""The guard of the ranks of one task, with launchers of a few lines."""

import os
import signal
import subprocess
import sys
import threading

import psutil
import pytest

from hpcmat.dispatch.launchers.place import LaunchEnd, Place, ends_in, move_out, note_end, settle_in
from hpcmat.dispatch.launchers.request import Launcher
from hpcmat.dispatch.launchers.slurm import lost_nodes
from hpcmat.dispatch.launchers.world import WRONG_WORLD_EXIT
from hpcmat.dispatch.placement.nodes import Node, Share
from hpcmat.dispatch.verdict import amended
from hpcmat.records import Failure, FailureKind, decode, encode

NEVER = threading.Event()
FUJITSU = """#!/bin/sh
# -n N -vcoordfile F -stdout-proc P -stderr-proc P COMMAND: the output of ranks reaches files alone
ranks=$2
out=$6
err=$8
cat "$4" >>"$LEDGER"
shift 8
rank=0
while [ $rank -lt $ranks ]; do
  RANK=$rank "$@" >"$out.1.$rank" 2>"$err.1.$rank" </dev/null || code=$?
  rank=$((rank + 1))
done
exit $code
"""
HYDRA = """#!/bin/sh
shift 6
exec "$@"
"""
SRUN = """#!/bin/sh
echo "$SAYS" >&2
exit 143
"""
STUBBORN = """#!/bin/sh
trap 'echo stopped >>"$LEDGER"; exit 1' TERM
echo $$ >>"$LEDGER"
while :; do sleep 0.05; done
"""
DEAF = """#!/bin/sh
trap '' TERM
echo $$ >>"$LEDGER"
while :; do sleep 0.05; done
"""


@pytest.fixture
def guarded(tmp_path, monkeypatch):
    """Makes the words that start a command under a launcher with this text."""
    ledger = tmp_path / "ledger"
    monkeypatch.setenv("LEDGER", str(ledger))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))

    def make(dialect, text, nodes=2, ranks=1):
        program = tmp_path / "launcher"
        program.write_text(text)
        program.chmod(0o755)
        shares = tuple(Share(Node(f"n{i}", 2, coordinates=(i,)), 2) for i in range(1, nodes + 1))
        place = Place(Launcher(dialect, str(program)), shares, ranks)
        return settle_in(place, tmp_path)

    return make


def run(parallel, *command):
    return subprocess.run([*parallel.launch, *command], capture_output=True, text=True, timeout=60, check=False)


def test_output_that_a_launcher_leaves_in_files_comes_out_where_the_command_would_write_it(guarded, tmp_path):
    parallel = guarded("fujitsu", FUJITSU, ranks=2)
    assert (parallel.ranks, parallel.threads) == (4, 1)
    done = run(parallel, "sh", "-c", "echo result of $RANK; echo warning of $RANK >&2")
    assert (done.returncode, done.stdout) == (0, "".join(f"result of {rank}\n" for rank in range(4)))
    assert done.stderr == "".join(f"warning of {rank}\n" for rank in range(4))
    assert ends_in(tmp_path) == (LaunchEnd(0),)
    assert (tmp_path / "ledger").read_text() == "(1) core=1\n" * 2 + "(2) core=1\n" * 2


def test_exit_code_and_streams_are_those_of_the_command(guarded, tmp_path):
    parallel = guarded("hydra", HYDRA)
    command = [*parallel.launch, "sh", "-c", "read line; echo got $line; exit 3"]
    done = subprocess.run(command, input="this\n", capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (3, "got this\n")
    assert run(parallel, "sh", "-c", "kill -9 $$").returncode == 128 + signal.SIGKILL
    assert [end.code for end in ends_in(tmp_path)] == [3, 137]
    move_out(tmp_path)
    assert ends_in(tmp_path) == ()


def test_ranks_see_no_launcher_around_the_driver(guarded, monkeypatch):
    monkeypatch.setenv("PMI_RANK", "5")
    done = run(guarded("hydra", HYDRA), "sh", "-c", "echo ${PMI_RANK:-none} $HPCMAT_WORLD_SIZE $OMP_NUM_THREADS")
    assert done.stdout == "none 2 1\n"


@pytest.mark.parametrize("ended_by", [signal.SIGKILL, signal.SIGTERM])
def test_ranks_end_with_whoever_started_them(guarded, tmp_path, ended_by):
    parallel = guarded("hydra", STUBBORN)
    ledger = tmp_path / "ledger"
    program = f"import subprocess; subprocess.run({[*parallel.launch, 'true']!r})"
    caller = subprocess.Popen([sys.executable, "-c", program])
    while not ledger.exists() or not ledger.read_text().endswith("\n"):
        assert caller.poll() is None
        NEVER.wait(0.02)
    caller.send_signal(ended_by)
    caller.wait()
    while ledger.read_text().splitlines()[1:] != ["stopped"]:
        NEVER.wait(0.02)
    while not ends_in(tmp_path):
        NEVER.wait(0.02)
    assert [end.cancelled for end in ends_in(tmp_path)] == [True]


def test_launcher_that_does_not_listen_is_killed_however_often_it_is_asked(guarded, tmp_path):
    ledger = tmp_path / "ledger"
    guard = subprocess.Popen([*guarded("hydra", DEAF).launch, "true"])
    while not ledger.exists() or not ledger.read_text().endswith("\n"):
        assert guard.poll() is None
        NEVER.wait(0.02)
    while guard.poll() is None:
        guard.terminate()
        NEVER.wait(0.05)
    assert guard.returncode == 128 + signal.SIGKILL
    assert not psutil.pid_exists(int(ledger.read_text()))


@pytest.mark.parametrize(
    ("says", "end"),
    [
        ("srun: error: Node failure on n2", LaunchEnd(143, certain=("n2",))),
        ("slurmstepd: error: *** STEP 3.0 ON n1 CANCELLED AT 2026-11-26T04:52:01 ***", LaunchEnd(143, cancelled=True)),
        (
            "srun: error: sim2: tasks 2-3: Exited with exit code 15\nsrun: launch/slurm: _step_signal: Terminating "
            "StepId=1.2\nslurmstepd: error: *** STEP 1.2 ON n1 CANCELLED AT 2026-11-26T05:40:16 ***",
            LaunchEnd(143, certain=("n1",)),
        ),
        ("srun: error: Unable to create step for job 1: Requested node", LaunchEnd(143, certain=("n1",))),
        ("no basis set", LaunchEnd(143, certain=("n1",))),
    ],
)
def test_what_srun_says_of_nodes_is_kept(guarded, tmp_path, monkeypatch, says, end):
    """Where it says nothing Slurm is asked which nodes the job still has; here n2 and n3."""
    squeue = tmp_path / "squeue"
    squeue.write_text("#!/bin/sh\necho 'n[2-3]'\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("SAYS", says)
    assert run(guarded("srun", SRUN), "true").returncode == 143
    assert ends_in(tmp_path) == (end,)


@pytest.mark.parametrize("answer", ["exit 1", "true", "echo 'n[1-'"])
def test_slurm_without_an_answer_has_lost_no_node(tmp_path, monkeypatch, answer):
    squeue = tmp_path / "squeue"
    squeue.write_text(f"#!/bin/sh\n{answer}\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert lost_nodes(["n1"]) == ()


def test_launcher_that_is_not_there_is_told(guarded, tmp_path):
    parallel = guarded("hydra", HYDRA)
    (tmp_path / "launcher").unlink()
    done = run(parallel, "true")
    assert done.returncode == 126
    assert "the ranks were not started" in done.stderr


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        (LaunchEnd(0), FailureKind.CRASH),
        (LaunchEnd(1), FailureKind.CRASH),
        (LaunchEnd(1, certain=("n1",)), FailureKind.NODE_LOST),
        (LaunchEnd(1, suspected=("n1", "n2")), FailureKind.NODE_LOST),
        (LaunchEnd(143, cancelled=True), FailureKind.PREEMPTED),
        (LaunchEnd(137), FailureKind.KILLED),
        (LaunchEnd(WRONG_WORLD_EXIT), FailureKind.BAD_SETTINGS),
    ],
)
def test_failure_is_charged_to_the_machine_where_the_launch_says_so(tmp_path, end, kind):
    crash = encode(Failure(FailureKind.CRASH, "it left with exit code 1", "last words"))
    (tmp_path / ".launch").mkdir()
    note_end(end, tmp_path)
    found = decode(Failure, amended(crash, ends_in(tmp_path)))
    assert (found.failure, found.log_tail) == (kind, "last words")


def test_what_is_no_failure_stays_as_it_is():
    label = '{"kind":"label"}'
    assert amended(label, (LaunchEnd(1, certain=("n1",)),)) == label
    assert amended(label, ()) == label
