"""From a problem to its measured losses, with everything put back at the end.

The rooms, each of which imports only from those before it (import-linter holds that):

    runtime        signals, time limits, random generators, devices, workers, failures
    restore, data  putting the user's objects back; getting batches
    losses         the log of the losses, and what ends a repeat
    update         one optimizer update
    loop           an update at each rate
    micro_batches, attempt, preparation, held_out
    sweep, short_runs, run_queue

`cuda_graphs` and `vectorized` can be deleted: `extensions` alone knows them.
"""
