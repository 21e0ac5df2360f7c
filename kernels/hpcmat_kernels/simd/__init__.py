"""The cluster expansion in vector instructions: what `hpcmat_kernels.ace.evaluate` runs.

One atom after another goes through stages (`stages`, `products`) that work on a flat scratch vector with places fixed
when the kernel is compiled (`layout`). The stages are written with vectors of eight doubles (`emitter`) and become
LLVM code for one shape of model; `sites` drives them. Numba keeps the compiled code on disk, one entry per shape.
"""
