"""What the tests share: known curves and runs, model files, processes that start at once, faults to inject."""
