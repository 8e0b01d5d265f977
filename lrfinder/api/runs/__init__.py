"""Run folders as the jobs read and list them."""
