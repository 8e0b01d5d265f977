"""Trainers of other libraries, taken as they are: one file for each, and none of them is imported here."""
