"""What each launcher is told, and what is read from its end."""

from pathlib import Path

import pytest

from hpcmat.dispatch.launchers.dialects import Blame, blame, check_tcp, collect, compose
from hpcmat.dispatch.launchers.request import Launcher, LaunchRequest, Output
from hpcmat.dispatch.placement.nodes import Node, Share
from hpcmat.errors import DispatchError, InputError

FOLDER = Path("/scratch/task")


def whole(*names, cores=8, gpus=0):
    return tuple(Share(node, cores, tuple(range(gpus))) for node in (Node(name, cores, gpus) for name in names))


def places(*coordinates, cores=48):
    return tuple(Share(Node(str(at), cores, 0, at), cores) for at in coordinates)


def request(shares, per_node=2, **more):
    return LaunchRequest(("pw.x", "-in", "a"), per_node * len(shares), per_node, shares, FOLDER, **more)


def half_a_node():
    return (Share(Node("a", 8, 2), 4, (1,)),)


def line(dialect, wanted, **more):
    return " ".join(compose(Launcher(dialect, **more), wanted).command)


def test_hydra():
    assert line("hydra", request(whole("a", "b"))) == "mpiexec -n 4 -ppn 2 -hosts a,b pw.x -in a"
    assert line("hydra", request(whole("a")), program="/opt/mpiexec", options=("-launcher", "ssh")) == (
        "/opt/mpiexec -n 2 -ppn 2 -hosts a -launcher ssh pw.x -in a"
    )


def test_open_mpi_binds_on_whole_nodes_only_and_names_the_variables():
    command = line("openmpi", request(whole("a", "b"), threads=4))
    assert command.startswith("mpiexec -n 4 --host a:2,b:2 --map-by ppr:2:node:PE=4 --bind-to core -x OMP_NUM_THREADS")
    assert "-x HPCMAT_WORLD_SIZE" in command
    shared = line("openmpi", request(half_a_node()))
    assert "--map-by slot --bind-to none" in shared
    assert "-x CUDA_VISIBLE_DEVICES" in shared


def test_srun_asks_for_its_cores_alone_on_a_shared_node():
    command = line("srun", request(whole("a", "b"), threads=4), options=("--mpi=pmi2",))
    assert command == (
        "srun --ntasks=4 --ntasks-per-node=2 --nodes=2 --nodelist=a,b --cpus-per-task=4 --mem=0 "
        "--kill-on-bad-exit=1 --quit-on-interrupt --immediate=60 --mpi=pmi2 pw.x -in a"
    )
    shared = line("srun", request(half_a_node()))
    assert "--exact" in shared
    assert "--gres=gpu:1" in shared


def test_srun_gives_a_step_no_more_gpus_than_it_was_given():
    """One that says nothing of them gets all that its job has."""
    without = (Share(Node("a", 8, 2), 4),)
    assert "--gres=none" in line("srun", request(without))
    assert "--gres=gpu:4" in line("srun", request(whole("a", "b", gpus=4)))
    assert "--gres" not in line("srun", request((Share(Node("a", 8), 4),))), "control: nodes that have none"


def test_fujitsu_gives_coordinates_and_files_of_ranks():
    launch = compose(Launcher("fujitsu"), request(places((0, 1), (1, 1)), threads=12, stdin=Path("/in")))
    assert " ".join(launch.command) == (
        "mpiexec -n 4 -vcoordfile /scratch/task/vcoord.txt -stdout-proc /scratch/task/rank-stdout "
        "-stderr-proc /scratch/task/rank-stderr -stdin /in pw.x -in a"
    )
    (file,) = launch.files
    assert file.text == "(0,1) core=12\n(0,1) core=12\n(1,1) core=12\n(1,1) core=12\n"
    assert launch.stdin is None, "PLE takes -stdin; what mpiexec reads itself does not reach the ranks"


def test_fujitsu_splits_directories_beyond_ten_thousand_ranks():
    many = request(places(*((i,) for i in range(2501))), per_node=4)
    launch = compose(Launcher("fujitsu"), many)
    assert "/scratch/task/%/1000r/rank-stdout" in launch.command
    assert launch.output.rank_stdout == "*/rank-stdout.*.*"


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        (places((0,), (0,)), "twice"),
        (whole("a"), "coordinates"),
        ((Share(Node("(0)", 48, 0, (0,)), 24),), "share a node"),
    ],
)
def test_fujitsu_refuses_what_its_mpiexec_cannot_do(shares, message):
    with pytest.raises(DispatchError, match=message):
        compose(Launcher("fujitsu"), request(shares))


@pytest.mark.parametrize("dialect", ["hydra", "openmpi", "srun"])
def test_input_of_other_launchers_is_their_own(dialect):
    assert compose(Launcher(dialect), request(whole("a"), stdin=Path("/in"))).stdin == Path("/in")


def test_every_dialect_tells_the_ranks_their_threads_and_the_size_of_the_world():
    for dialect, shares in [
        ("hydra", whole("a")),
        ("openmpi", whole("a")),
        ("srun", whole("a")),
        ("fujitsu", places((0,))),
    ]:
        launch = compose(Launcher(dialect), request(shares, threads=3, environment=(("MKL_NUM_THREADS", "1"),)))
        environment = dict(launch.environment)
        assert environment["HPCMAT_WORLD_SIZE"] == "2"
        assert environment["OMP_NUM_THREADS"] == "3"
        assert environment["MKL_NUM_THREADS"] == "1", "what the task itself asks for wins"
        assert "CUDA_VISIBLE_DEVICES" not in environment


def test_shared_node_shows_a_task_its_gpus_alone():
    for dialect in ("hydra", "openmpi"):
        for share, expected in ((half_a_node()[0], "1"), (Share(Node("a", 8, 2), 4), "")):
            shown = dict(compose(Launcher(dialect), request((share,))).environment)
            assert (shown["CUDA_VISIBLE_DEVICES"], shown["ROCR_VISIBLE_DEVICES"]) == (expected, expected)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ranks": 3}, "3 ranks"),
        ({"command": ()}, "no command"),
        ({"threads": 0}, "positive"),
        ({"folder": Path("x")}, "absolute"),
    ],
)
def test_requests_that_contradict_themselves_are_refused(changed, message):
    given = {"command": ("a",), "ranks": 4, "ranks_per_node": 2, "shares": whole("a", "b"), "folder": FOLDER} | changed
    with pytest.raises(DispatchError, match=message):
        LaunchRequest(**given)


def test_unknown_dialect_is_refused():
    with pytest.raises(InputError, match="did you mean 'hydra'"):
        compose(Launcher("hidra"), request(whole("a")))


def test_pilots_on_fugaku_are_limited_to_512_nodes():
    check_tcp(Launcher("fujitsu"), 512)
    check_tcp(Launcher("srun"), 9000)
    with pytest.raises(DispatchError, match="at most 512"):
        check_tcp(Launcher("fujitsu"), 513)


def test_files_of_ranks_are_put_together_in_order(tmp_path):
    for rank in (10, 2, 0):
        (tmp_path / f"rank-stdout.7.{rank}").write_text(f"rank {rank}\n")
    (tmp_path / "stdout.txt").write_text("launcher\n")
    output = Output(tmp_path / "stdout.txt", tmp_path / "stderr.txt", "rank-stdout.*.*", "rank-stderr.*.*")
    collect(output, tmp_path)
    assert output.stdout.read_text() == "launcher\nrank 0\nrank 2\nrank 10\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stderr.txt", "stdout.txt"]


@pytest.mark.parametrize(
    ("dialect", "text", "expected"),
    [
        (
            "srun",
            "srun: error: Task launch for StepId=7.0 failed on node n2: Communication connection failure",
            Blame(("n2",)),
        ),
        ("srun", "*** STEP 7.0 ON n1 CANCELLED AT 1 DUE TO NODE FAILURE, SEE ***", Blame(suspected=("n1", "n2"))),
        ("hydra", "ssh: connect to host n1 port 22: Connection refused", Blame(("n1",))),
        ("openmpi", "PRTE has lost communication with a remote daemon.", Blame(suspected=("n1", "n2"))),
        ("srun", "Segmentation fault", Blame()),
        ("srun", "srun: error: Unable to create step for job 1: Requested nodes are busy", Blame((), ("n1", "n2"))),
        ("srun", "srun: Job 1 step creation temporarily disabled, retrying (Requested nodes are busy)", Blame()),
        ("hydra", "ssh: connect to host n11 port 22: Connection refused", Blame()),
    ],
)
def test_blame_falls_on_nodes_where_the_launcher_says_so(dialect, text, expected):
    assert blame(Launcher(dialect), text, ("n1", "n2")) == expected
