"""The machine and the process: device, memory, garbage, failures, generators, signals, time limits, workers."""
