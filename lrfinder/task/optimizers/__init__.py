"""The optimizers of a model file: built, named, and the rates of their param groups."""
