"""Decisions as pure functions of arrays and state: no files, clocks, engines or dispatch."""
