"""The parts of `lrfinder schedule`."""
