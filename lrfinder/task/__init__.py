"""The user's model file: found, imported, checked and made ready to train. `reference` imports no torch."""
