"""The user's objects come back bit for bit."""
