"""The vector code of the cluster expansion: sizes, threads, full-width instructions."""

import platform
import re
from dataclasses import dataclass

import llvmlite.binding as llvm
import numpy as np
import pytest
from llvmlite import ir
from numba import float64, int64, njit

from hpcmat_kernels.ace import ace_model, evaluate, split_coefficients
from hpcmat_kernels.design import design_rows
from hpcmat_kernels.neighbors import neighbor_list
from hpcmat_kernels.reference.ace import site_energies
from hpcmat_kernels.simd import stages
from hpcmat_kernels.simd.emitter import Emitter, Pointer
from hpcmat_kernels.simd.layout import KernelShape, shape_type
from hpcmat_kernels.simd.products import emit_products

PERIODIC = (True, True, True)
SMALL = {"n_radial": 6, "l_max": 3, "n_channels": 8, "degrees": (3, 2)}
MEDIUM = {"n_radial": 8, "l_max": 4, "n_channels": 16, "degrees": (4, 2)}


def make_model(n_species, n_radial, l_max, n_channels, degrees, cutoff=4.0):
    shape = (n_species, l_max + 1, n_species * n_radial, n_channels)
    return ace_model(np.random.default_rng(0).normal(size=shape), cutoff, 1.0, degrees)


def make_vector(model, seed=1):
    return np.random.default_rng(seed).normal(size=model.n_features) * 0.05


@dataclass(frozen=True)
class Crystal:
    """Rattled, triclinic, with several species."""

    positions: np.ndarray
    cell: np.ndarray
    species: np.ndarray

    @classmethod
    def make(cls, n_species, repeat=1):
        cell = np.array([[4.1, 0.2, 0.0], [0.0, 4.4, 0.3], [-0.5, 0.0, 4.7]])
        grid = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5], [0.25, 0.25, 0.25]])
        cells = np.array(list(np.ndindex(repeat, repeat, repeat)))
        positions = (cells[:, None] + grid[None]).reshape(-1, 3) @ cell
        noise = 0.1 * np.random.default_rng(3).normal(size=positions.shape)
        return cls(positions + noise, cell * repeat, np.arange(len(positions)) % n_species)

    def neighbors(self, cutoff):
        return neighbor_list(self.positions, self.cell, PERIODIC, cutoff)


def run(model, vector, crystal, threads=1):
    coefficients = split_coefficients(model, vector)
    return evaluate(model, coefficients, crystal.neighbors(model.cutoff), crystal.species, threads=threads)


@pytest.mark.parametrize("size", [SMALL, MEDIUM], ids=["small", "medium"])
@pytest.mark.parametrize("n_species", [1, 2])
def test_equals_reference(size, n_species):
    model, crystal = make_model(n_species, **size), Crystal.make(n_species)
    coefficients = split_coefficients(model, make_vector(model))
    expected = site_energies(model, coefficients, crystal.positions, crystal.cell, PERIODIC, crystal.species)
    result = run(model, make_vector(model), crystal).site_energies
    np.testing.assert_allclose(result, expected, rtol=1e-10, atol=1e-10)
    assert abs(run(model, make_vector(model, seed=2), crystal).site_energies - expected).max() > 1e-3


SIZES = [
    (1, SMALL),
    (2, MEDIUM),
    (3, {"n_radial": 3, "l_max": 2, "n_channels": 5, "degrees": (2, 1)}),
    (2, {"n_radial": 9, "l_max": 1, "n_channels": 17, "degrees": (1, 1)}),
    (1, {"n_radial": 2, "l_max": 5, "n_channels": 1, "degrees": (5, -1)}),
    (1, {"n_radial": 4, "l_max": 0, "n_channels": 2, "degrees": (0, 0)}),
    (2, {"n_radial": 4, "l_max": 2, "n_channels": 2, "degrees": (-1, -1)}),
    (1, {"n_radial": 5, "l_max": 3, "n_channels": 4, "degrees": (1, 3)}),
]


@pytest.mark.parametrize(("n_species", "size"), SIZES)
def test_equals_design_rows_times_coefficients(n_species, size):
    model, crystal = make_model(n_species, **size), Crystal.make(n_species)
    vector = make_vector(model)
    result = run(model, vector, crystal)
    rows = design_rows(model, crystal.neighbors(model.cutoff), crystal.species)
    expected = (rows.forces @ vector).reshape(-1, 3)
    scale = abs(expected).max()
    np.testing.assert_allclose(result.site_energies, rows.site @ vector, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(result.forces, expected, rtol=1e-10, atol=1e-10 * scale)
    np.testing.assert_allclose(result.virial, rows.virial @ vector, rtol=1e-10, atol=1e-10 * scale)
    assert abs(result.forces + expected).max() > 1e-2 * scale


def test_bits_do_not_depend_on_the_number_of_threads():
    model, crystal = make_model(2, **SMALL), Crystal.make(2, repeat=3)
    vector = make_vector(model)
    one = run(model, vector, crystal)
    for threads in (2, 3):
        many = run(model, vector, crystal, threads=threads)
        for name in ("site_energies", "forces", "virial"):
            assert getattr(many, name).tobytes() == getattr(one, name).tobytes()
    turned = Crystal(crystal.positions[::-1].copy(), crystal.cell, crystal.species[::-1].copy())
    assert run(model, vector, turned).forces[::-1].tobytes() != one.forces.tobytes()


def test_refuses_no_threads():
    model, crystal = make_model(1, **SMALL), Crystal.make(1)
    with pytest.raises(ValueError, match="thread"):
        run(model, make_vector(model), crystal, threads=0)


def full_width_fmas(function):
    """Fused multiply-adds on the widest registers of this machine in the code of a compiled function."""
    register = "zmm" if llvm.get_host_cpu_features().get("avx512f") else "ymm"
    (assembly,) = function.inspect_asm().values()
    return len(re.findall(rf"vfn?m(?:add|sub)\w+pd\b.*%{register}", assembly))


@pytest.mark.skipif(platform.machine() != "x86_64", reason="counts x86 instructions")
def test_stages_use_full_width_fused_multiply_adds():
    model = make_model(1, **MEDIUM)
    shape = KernelShape(1, 8, 4, 16, tuple((path.degrees, path.intermediate) for path in model.paths))

    @njit(float64(shape_type(shape), float64[::1], float64[:, ::1]))
    def products(shape, scratch, parameters):
        return stages.products(shape, scratch, parameters, 0)

    @njit(float64(shape_type(shape), float64[::1], int64))
    def density(shape, scratch, count):
        return stages.density(shape, scratch, 0, 0, count)

    @njit(float64(shape_type(shape), float64[::1], int64))
    def gradients(shape, scratch, blocks):
        return stages.pair_gradients(shape, scratch, 0, 0, blocks)

    @njit(float64(shape_type(shape), float64[::1], float64[:, ::1]))
    def mixing(shape, scratch, parameters):
        return stages.mix(shape, scratch, parameters, 0)

    @njit(float64(shape_type(shape), float64[::1], float64[:, ::1]))
    def unmixing(shape, scratch, parameters):
        return stages.unmix(shape, scratch, parameters, 0)

    @njit(float64(float64[::1], float64))
    def one_by_one(values, factor):
        total = 0.0
        for value in values:
            total = total * factor + value
        return total

    # Each term of a coupling, a density and a harmonic is one instruction.
    assert full_width_fmas(products) > 600
    assert full_width_fmas(density) >= shape.n_lm
    assert full_width_fmas(gradients) > 2 * shape.n_radial + 3 * shape.n_lm // 2
    assert full_width_fmas(mixing) >= shape.n_lm
    assert full_width_fmas(unmixing) >= 2 * shape.n_lm
    assert full_width_fmas(one_by_one) == 0


@pytest.mark.skipif(platform.machine() != "x86_64", reason="counts x86 instructions")
def test_count_of_full_width_instructions_notices_narrow_code():
    @stages.stage
    def narrow(e: Emitter, shape, scratch):
        product = e.builder.fmul(*(e.builder.load((scratch + i).value) for i in range(2)), flags=("contract",))
        e.builder.store(e.builder.fadd(product, product, flags=("contract",)), scratch.value)

    shape = KernelShape(1, 2, 0, 1, ())
    function = njit(float64(shape_type(shape), float64[::1]))(lambda shape, scratch: narrow(shape, scratch))
    assert full_width_fmas(function) == 0


def emit_all_products(e, shape, *operands):
    return emit_products(e, shape, *operands[:2])


def emit_pair_gradients(e, shape, *operands):
    stages._emit_gradients(shape, e, *operands)
    return ir.Constant(ir.DoubleType(), 0.0)


def sve_fmas(emit, processor):
    """Scalable-vector multiply-adds in the code of a stage, compiled for an A64FX as for `processor`."""
    paths = tuple((path.degrees, path.intermediate) for path in make_model(1, **MEDIUM).paths)
    shape = KernelShape(1, 8, 4, 16, paths)
    module = ir.Module()
    function = ir.Function(module, ir.FunctionType(ir.DoubleType(), [ir.DoubleType().as_pointer()] * 3), "stage")
    builder = ir.IRBuilder(function.append_basic_block())
    builder.ret(emit(Emitter(builder, processor), shape, *(Pointer(builder, argument) for argument in function.args)))
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple("aarch64-unknown-linux-gnu").create_target_machine(cpu="a64fx", opt=3)
    module.triple, module.data_layout = target.triple, str(target.target_data)
    assembly = target.emit_assembly(llvm.parse_assembly(str(module)))
    return len(re.findall(r"\bf(?:n?mla|mad|nmls|msb)\s+z\d+\.d", assembly))


@pytest.mark.parametrize(("emit", "least"), [(emit_all_products, 600), (emit_pair_gradients, 50)])
def test_a64fx_gets_scalable_vector_instructions(emit, least):
    assert sve_fmas(emit, "a64fx") > least
    assert sve_fmas(emit, "generic") == 0
