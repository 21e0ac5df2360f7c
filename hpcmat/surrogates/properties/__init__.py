"""Surrogates of properties: descriptors of compositions and structures, and Gaussian processes over them."""
