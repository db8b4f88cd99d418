"""Fuzzing Tiltfiles: seeds are mutated and evaluated by the real loader, in a world that exists only there.

`python -m tests.fuzz` runs it; `kept/` has the smallest text of whatever it found, each a test from then on.
"""
