"""An update as a CUDA graph: off by default, and nothing else of the engine imports this room."""
