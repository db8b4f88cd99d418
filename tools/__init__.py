"""Programs that make, lint and test the project; not part of the package."""
