"""Losses, from the device to a decision."""
