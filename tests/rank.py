"""Runs a program as a rank, for torchrun: ``rank.py PROGRAM ARGUMENTS``.

It ends where the program ends, without an interpreter's end: there torch with gloo aborts now and
then ("terminate called without an active exception"), also when it is the only library.
"""

import os
import runpy
import sys

del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
sys.stdout.flush()
os._exit(0)
