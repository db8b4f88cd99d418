"""Tests of the Starlark language."""
