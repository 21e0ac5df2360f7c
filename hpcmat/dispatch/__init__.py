"""Moves tasks to where they run, knows no science: sites, the Parsl executor, the worker, orphan control."""
