"""Faults by the thousand: a class of faults is tried with many seeds, and every trial says whether a promise held.

    python -m tests.harness                          # every class in full (make harness)
    python -m tests.harness kills --share 0.1        # a tenth of one class
    python -m tests.harness kills --trial 17         # one trial again, as a failure names it

A class is a module in `classes/` that holds `FAULTS`, one FaultClass or several. Volume comes from forking: the
harness imports torch and the registry once, and a trial forks a child for each command (tests/support/processes.py).
"""
