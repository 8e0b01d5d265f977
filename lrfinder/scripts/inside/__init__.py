"""What runs inside the script's own process: few imports, nothing printed, nothing read but the plan.

start        what Python is told to run: reads the plan, seeds, watches, then runs the script
seeds        the generators before the script starts, and the script's own seeds in another repeat
rates        the swept optimizer among those that step
followed     its rates around each step
weights      those of the optimizers that were made: where they are
losses       what backward() was called on since the last step
facts        what is trained: settings, number of parameters, loader, names of an optimizer
sweeping     a sweep or a short run: a rate for each update, a message for each loss, the end
training     a real run: the rates of a schedule config, and the log of what was set
file_guard   writes that would change what was there before; compiled_writers: those that Python can't see; paths
serving      the process that is forked for each run
messages     lines to the process that started this one
"""
