"""What launchers tell a process of itself."""

import pytest

from hpcmat.dispatch.launch import Launch, joined, launch_of

ENVIRONMENTS = {
    "Hydra": ({"PMI_RANK": "2", "PMI_SIZE": "4", "PMI_FD": "7"}, Launch(2, 4)),
    "Open MPI": ({"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "8", "PMIX_RANK": "0"}, Launch(0, 8)),
    "Fujitsu": ({"PMIX_RANK": "5", "PLE_RANK_ON_NODE": "1"}, Launch(5, None)),
    "srun": ({"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "4", "SLURM_NTASKS": "4"}, Launch(3, 4)),
    "srun with mpiexec in it": (
        {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "PMI_RANK": "0", "PMI_SIZE": "1"},
        Launch(0, 1),
    ),
    "batch script": ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_JOB_ID": "17"}, None),
    "shell": ({"HOME": "/home/user"}, None),
    "nonsense": ({"PMI_RANK": "", "PMI_SIZE": "many"}, None),
}


@pytest.mark.parametrize(("environment", "expected"), ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_launch_is_read_from_the_environment(environment, expected):
    assert launch_of(environment) == expected


@pytest.mark.parametrize("name", ["batch script", "shell", "srun with mpiexec in it"])
def test_one_process_is_alone(name):
    assert joined(ENVIRONMENTS[name][0]) is None
