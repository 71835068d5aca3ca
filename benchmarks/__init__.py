"""Speed, measured from outside: genlab beside floor loops and other projects, ratios within one round."""

LIMIT = 50_000  # maximum number of training images for genlab, its floor and projects that read .npy: fits in memory
