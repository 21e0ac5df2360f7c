"""Moves tasks to where they run, knows no science: sites, batch scripts, providers, executor, worker, orphans."""
