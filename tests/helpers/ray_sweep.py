"""The sweep that tests on Ray make, here and there."""

SWEEP = {"steps": 40, "repeats": 4, "run_steps": 15, "device": "cpu"}
