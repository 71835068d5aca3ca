"""Runs beside each other: what differs in their configurations, and which figures differ by more than chance."""
