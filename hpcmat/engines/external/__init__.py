"""Codes that run as programs of their own: finding, running and reading them; what each writes and says is its own."""
