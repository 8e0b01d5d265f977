"""Where the script's processes are started: on this machine, or on all on which torchrun has started lrfinder.

machine         one of them: scratch folder, processes, and what they leave on its disk
layout          all of them, as one place to start a run
members         the processes of lrfinder that torchrun has started: orders, answers, the first failure
orders          what rank 0 tells the others to do
others          the other machines as rank 0 sees them
following       what they do
kept_elsewhere  what each has changed of the user's files: a folder may be one that they share
"""
