#!/usr/bin/env bash
# The kernels as an A64FX (aarch64, SVE of 512 bit) would run them, by user-mode emulation on any x86 machine.
#
#   perf/a64fx.sh DIR             set up in DIR (once, about 1 GB), compare with the answers of this machine
#   perf/a64fx.sh DIR tests       the kernels' own tests there: half an hour and more
#   perf/a64fx.sh DIR ARGUMENT... emulated `python3.11 ARGUMENT...`
#
# Needs root and the Debian packages qemu-user-static and debootstrap; PYTHON (default python3) computes the answers to
# compare with. It tells whether results are right and whether the code uses SVE registers; its times mean nothing.
set -euo pipefail

dir=${1:?usage: a64fx.sh DIR [tests | ARGUMENT...]}
shift
for program in qemu-aarch64-static debootstrap; do
  command -v "$program" >/dev/null || { echo "a64fx.sh: $program is missing: apt-get install qemu-user-static debootstrap" >&2; exit 4; }
done
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
export PYTHONPATH=$root:$root/kernels:$root/perf PYTHONDONTWRITEBYTECODE=1

setup() {
  [ -e "$dir/ready" ] && return
  rm -rf "$dir/sysroot"
  debootstrap --arch=arm64 --foreign --variant=minbase --include=python3,libgomp1 bookworm "$dir/sysroot"
  # Unpacking takes the place of the second stage of debootstrap, which would need a chroot.
  for package in "$dir"/sysroot/var/cache/apt/archives/*.deb; do dpkg-deb -x "$package" "$dir/sysroot"; done
  local tags=() tag
  for tag in manylinux_2_28 manylinux_2_27 manylinux2014 manylinux_2_17; do tags+=(--platform "${tag}_aarch64"); done
  "$python" -m pip install --quiet --upgrade --target "$dir/site" --python-version 3.11 --implementation cp \
    --only-binary=:all: "${tags[@]}" numpy numba scipy jax ase pytest hypothesis vesin
  touch "$dir/ready"
}

emulated() {
  # The emulator names no processor to LLVM; on the machine itself LLVM asks the processor.
  env -u OPENBLAS_CORETYPE QEMU_LD_PREFIX="$dir/sysroot" PYTHONPATH="$dir/site:$PYTHONPATH" NUMBA_CPU_NAME=a64fx \
    NUMBA_CPU_FEATURES=+sve,+neon,+fp-armv8,+fullfp16 NUMBA_CACHE_DIR="$dir/compiled" \
    qemu-aarch64-static -cpu a64fx "$dir/sysroot/usr/bin/python3.11" "$@"
}

setup >&2
case ${1:-answers} in
  answers)
    "$python" "$root/perf/a64fx_answers.py" write "$dir/answers.npz"
    emulated "$root/perf/a64fx_answers.py" compare "$dir/answers.npz"
    ;;
  # Without those that need LAMMPS or a compiler inside the emulation.
  tests) cd "$root" && emulated -m pytest -q -p no:cacheprovider -o addopts= tests/kernels/test_{basis_functions,ace,ace_fast,ace_physics,neighbors,verlet,mixing,uncertainty,md}.py ;;
  *) emulated "$@" ;;
esac
