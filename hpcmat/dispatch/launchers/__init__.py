"""Dialects of MPI launchers: pure functions from a request to command line, environment, files and place of output."""
