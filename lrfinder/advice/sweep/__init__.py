"""What a sweep shows: evidence, doubts, refusals, and what to try next."""
