"""What runs inside the script's own process: few imports, nothing printed, nothing read but the plan.

start            what Python is told to run: reads the plan, then begins one of the processes
sweep_process    the life of a process that runs the script for a sweep: seeds, watches, runs it
training_process a real run: the rates of a schedule config, and the log of what was set
seeds            the generators before the script starts, and the script's own seeds in another repeat
rates            the swept optimizer among those that step; followed: its rates around each step
weights          those of the optimizers that were made: where they are
losses           what backward() was called on since the last step
held_back        batches by which the weights at the end are judged
facts            what is trained: settings, number of parameters, loader, names of an optimizer
sweeping         a sweep or a short run: a rate for each update, a message for each loss
patience         how long no update may come; step_times: what between updates was not training
refusals         what is said if a script can't be swept so; ending: the end of its process
file_guard       writes that would change what was there before; compiled_writers: those that Python can't see
kept             copies of what is about to change; paths
serving          the process that is forked for each run
messages         lines to the process that started this one
"""
