"""The same functions, slow and obvious: what the kernels are tested against."""
