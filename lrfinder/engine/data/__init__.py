"""Batches, from whatever the user trains on."""
