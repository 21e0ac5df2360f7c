"""`python -m hpcmat` is the command `hpcmat`."""

from hpcmat.cli.app import main

main()
