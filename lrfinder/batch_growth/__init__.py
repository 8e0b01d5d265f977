"""A batch that grows instead of a rate that falls."""
