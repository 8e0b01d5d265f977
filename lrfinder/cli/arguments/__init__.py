"""Options, their values and defaults."""
