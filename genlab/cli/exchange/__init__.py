"""Commands that exchange files with other programs: samples to measure, models to export."""
