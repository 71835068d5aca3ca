"""Claims and their evidence: what is trained and measured for each figure of the results, and what came out."""
