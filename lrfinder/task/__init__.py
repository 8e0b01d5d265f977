"""Find, import and check the user's model file, and make what it defines ready to train.

The module `reference` imports no torch.
"""
