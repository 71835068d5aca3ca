"""Runs beside each other: what differs in their configurations, and which metrics differ by more than chance."""
