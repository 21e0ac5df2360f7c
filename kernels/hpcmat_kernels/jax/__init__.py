"""The same energy in JAX: batches of structures, accelerators, derivatives by every parameter.

`batch.pad_batch` brings structures to one of few shapes, `ace.energies_forces` evaluates them. Arrays of float64 need
`jax.config.update("jax_enable_x64", True)`, or the context `jax.enable_x64(True)`, around both.
"""
