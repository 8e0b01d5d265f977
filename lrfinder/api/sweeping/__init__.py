"""What all sweeps share: source, settings, measuring, run folder, observers."""
