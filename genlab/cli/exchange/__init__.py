"""Commands for what crosses the border: samples of others, models for others."""
