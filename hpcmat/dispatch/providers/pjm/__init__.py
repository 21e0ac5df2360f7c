"""PJM, the batch system of Fugaku and other Fujitsu machines (Technical Computing Suite).

Facts are from Fujitsu's Job Operation Software manuals, End-user's Guide (EG, J2UL-2534) and Command Reference (CR,
J2UL-2549), and RIKEN's Fugaku Users Guide (UG, version 1.52); where they differ, the UG decides. Nothing here was run
on a real PJM. Only `failures` knows hpcmat; the rest needs Parsl alone.
"""
