"""Put `genlab train WORDS` into a Slurm queue, one process per GPU, with submitit (pip install submitit).

    python scripts/submit.py --hosts 2 --gpus 4 --hours 12 -- model=dcgan dataset=lsun hydra.run.dir=/shared/bedrooms

Set `hydra.run.dir` to a folder on a disk that all hosts see. If Slurm preempts the job or its time ends, submitit
requeues it, and the same command resumes from the newest checkpoint. `--cluster local` runs it on this machine.
"""

from __future__ import annotations

import argparse
import sys

import submitit


class Run:
    """The function that each process runs."""

    def __init__(self, words: list[str]) -> None:
        self.words = words

    def __call__(self) -> None:
        # genlab chooses its GPU by LOCAL_RANK, so all of them stay visible
        submitit.helpers.TorchDistributedEnvironment().export(set_cuda_visible_devices=False)
        from genlab.cli.main import main

        code = main(["train", *self.words])
        if code:
            raise RuntimeError(f"genlab ended with code {code}; its line is in this process's .err file")

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """Requeue the job unchanged before it is preempted."""
        return submitit.helpers.DelayedSubmission(self)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cluster", choices=["slurm", "local"], default="slurm")
    parser.add_argument("--partition", help="Slurm partition; default: the cluster's")
    parser.add_argument("--hosts", type=int, default=1)
    parser.add_argument("--gpus", type=int, default=1, help="GPUs, and so processes, on each host; 0: one on the CPU")
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--wait", action="store_true", help="return when the job has ended")
    parser.add_argument("words", nargs="+", help="arguments of `genlab train`")
    options = parser.parse_args()
    executor = submitit.AutoExecutor(folder="outputs/slurm/%j", cluster=options.cluster)
    executor.update_parameters(
        name="genlab",
        nodes=options.hosts,
        tasks_per_node=max(1, options.gpus),
        timeout_min=round(60 * options.hours),
    )
    if options.cluster == "slurm":
        executor.update_parameters(gpus_per_node=options.gpus, cpus_per_task=4)
        if options.partition:
            executor.update_parameters(slurm_partition=options.partition)
    job = executor.submit(Run(options.words))
    print(f"job {job.job_id}; logs: {job.paths.folder}")
    if options.wait:
        job.results()
    return 0


if __name__ == "__main__":
    sys.exit(main())
