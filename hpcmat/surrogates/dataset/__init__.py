"""Data sets in files: reading labels and telling by frame what is wrong with them."""

from hpcmat.surrogates.dataset.data import Dataset, Frame, LabelKeys, Problem
from hpcmat.surrogates.dataset.reading import read_dataset

__all__ = ["Dataset", "Frame", "LabelKeys", "Problem", "read_dataset"]
