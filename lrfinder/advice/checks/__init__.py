"""Is a config still sane: by its band, by a baseline, by the rates that a run used, by itself."""
