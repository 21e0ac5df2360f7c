"""The same energy in JAX, for accelerators and automatic differentiation; switch on `jax_enable_x64` first."""
