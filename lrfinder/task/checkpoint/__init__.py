"""The checkpoint from which a run goes on: its files, what they hold, and how a model and an optimizer begin there."""
