"""The machine and the process: device, memory, failures, generators, signals, time limits, workers."""
