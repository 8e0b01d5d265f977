"""Sweeps of a training script as it is: every run is a new process of it, watched from inside.

program      what is started: checked, and named in messages
process      a process of the script
job          several of them in one training, judged as one
machines     where they are started: here, or on all machines on which torchrun has started lrfinder
footprints   what the runs left on the disk, put in order
runs         repeats and short runs, made by processes
inside       what runs in the script's own process
"""
