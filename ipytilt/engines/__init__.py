"""Adapters to the world: each engine implements the ports of `base` it can, behind one door per third-party client."""
