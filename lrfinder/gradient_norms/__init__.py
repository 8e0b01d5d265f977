"""The gradient norms of a run: recorded while it trains, and read back to refine its schedule."""
