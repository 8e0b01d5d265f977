"""One model on several processes, one device each, started by torchrun.

All processes run the same engine in step. Rank 0 decides: the others get its orders, rates and ends.

environment     which of several processes this one is, as torchrun says; imports no torch
launcher        what rank 0 wants the others for, in the store that torchrun holds
team            joining the others, orders, and numbers that all must know
watch           the heartbeat: who has failed, is gone or hangs, and in which update
shards          each process its own part of the data
updates         updates whose gradients are averaged by DistributedDataParallel
exchange        losses, averaged over the processes a few at a time
"""
