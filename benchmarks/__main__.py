"""`python -m benchmarks`: every measurement, a line each."""

from benchmarks import engine, training

for benchmark in (training, engine):
    benchmark.main()
