"""Searching by short runs: which rate to try next, where the best lies, how it moves with the length of a run."""
