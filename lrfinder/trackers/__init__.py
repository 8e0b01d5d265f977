"""Experiment trackers: observers that bring a sweep to other tools. Each needs that tool, and is one file."""
