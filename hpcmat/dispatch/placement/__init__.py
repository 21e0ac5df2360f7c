"""Mixed-size MPI tasks inside one allocation: which runs where and when (pure), and the Parsl executor that does it."""
