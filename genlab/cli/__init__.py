"""One small module per command: `parser()` says what it takes, `run(options)` does it."""

# command: module below genlab.cli, what it does
COMMANDS = {
    "train": ("train", "train a model, or a sweep of them (-m)"),
    "resume": ("resume", "go on with a run that was stopped"),
    "eval": ("evaluate", "measure a trained model on the test split"),
    "sample": ("images.sample", "draw images from a trained model"),
    "reconstruct": ("images.reconstruct", "images and what a trained model makes of them"),
    "denoise": ("images.denoise", "noisy images and what a trained model makes of them"),
    "inpaint": ("images.inpaint", "images with a square missing, filled by a trained model"),
    "translate": ("images.translate", "pictures and what a trained model turns them into"),
    "interpolate": ("images.interpolate", "walk between codes of a trained model"),
    "walk": ("images.walk", "a walk through codes as an animation, GIF or WebP"),
    "project": ("images.project", "find the code whose image is most like a picture"),
    "traverse": ("images.traverse", "what each number of a code does to the image"),
    "arithmetic": ("images.arithmetic", "add an attribute to images, as a direction among codes"),
    "anomaly": ("images.anomaly", "score images, and mark the strange ones"),
    "encode": ("encode", "write the codes of a data set as a NumPy file"),
    "runs": ("runs_table", "a table of runs: status, step, best metric"),
    "list": ("listing", "models, datasets, optimizers, experiments, ..."),
    "info": ("info", "one model, data set, ...: paper, parameters, losses"),
    "prepare": ("prepare", "decode a data set into its store beforehand"),
    "bench": ("bench", "time training on a named workload, as one JSON line"),
    "doctor": ("doctor", "versions, devices, data found, broken plug-ins, time to start"),
    "completion": ("completion", "a completion script for bash, zsh or fish"),
}
HIDDEN = {"__complete": ("complete", "candidates for the shell")}
