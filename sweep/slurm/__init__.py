"""A launch as a job of SLURM: submitted and followed from outside, run in the allocation from inside."""
