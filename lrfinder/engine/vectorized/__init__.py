"""Several short runs in one `vmap`."""
