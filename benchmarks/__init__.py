"""Figures as ratios against a floor measured in the same run. `make bench`; nothing here is asserted."""
