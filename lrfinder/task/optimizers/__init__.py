"""Build the optimizers of a model file, name them, and read the rates of their param groups."""
