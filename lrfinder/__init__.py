"""lrfinder."""
