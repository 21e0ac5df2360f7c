"""One campaign: its specification, and the driver that carries it out."""
