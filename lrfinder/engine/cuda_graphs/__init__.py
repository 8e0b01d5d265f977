"""An update as a CUDA graph. Off by default; only `engine/extensions.py` imports this room."""
