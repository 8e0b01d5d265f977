"""The Python interface: `sweep` measures, `recommend` advises. `lrfinder` itself exports them."""
