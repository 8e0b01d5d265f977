"""What trials show of a recommended rate, and which ones to make."""
