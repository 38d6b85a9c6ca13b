"""`python -m benchmarks`: every measurement, a line each."""

from benchmarks import engine, scoring, training

for benchmark in (training, scoring, engine):
    benchmark.main()
