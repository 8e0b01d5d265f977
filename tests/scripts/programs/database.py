"""A training script that logs to a database of SQLite: `database.py FILE JOURNAL`."""

import sqlite3
import sys

import torch

log = sqlite3.connect(sys.argv[1], uri=True)
log.execute("pragma journal_mode = " + sys.argv[2])
log.execute("pragma cache_size = 1")  # so that it writes to the file before it commits
log.execute("create table if not exists losses (step integer, loss real, words text)")
weight = torch.nn.Parameter(torch.ones(3))
optimizer = torch.optim.SGD([weight], lr=0.1)
for step in range(200):
    optimizer.zero_grad()
    loss = weight.pow(2).sum()
    loss.backward()
    optimizer.step()
    log.executemany("insert into losses values (?, ?, ?)", [(step, loss.item(), "x" * 900)] * 20)
    if step % 7 == 0:
        log.commit()
