"""Floor loops by family; `benchmarks/floor.py` names them by workload."""
