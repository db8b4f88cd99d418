"""The tests, one folder per layer; ``tests.support`` holds what they share."""
