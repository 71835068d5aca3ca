"""One small module per verb: `parser()` says what it takes, `run(options)` does it."""
