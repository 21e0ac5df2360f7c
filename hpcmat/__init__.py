"""Active-learning campaigns that couple first-principles simulation and AI on supercomputers."""

__version__ = "0.1.0"
