"""What people look at: numbers, tables, plots and progress, made from the records.

Everything here turns records into text, renderables or figures; only `progress` writes, by `live` to standard error and
by `notebook` into the cell.
"""
