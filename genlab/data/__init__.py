"""Data sets: readers, the decoded uint8 store, splits and batches. Each reader registers itself by name."""
