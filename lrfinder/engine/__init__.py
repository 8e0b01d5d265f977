"""Run the range test on a real model and leave everything as it was."""
