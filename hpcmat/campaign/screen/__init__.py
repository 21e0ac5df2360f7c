"""Screening campaigns: which of many candidates have the best properties, found with few calculations."""
