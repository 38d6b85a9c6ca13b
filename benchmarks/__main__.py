"""`python -m benchmarks`: every measurement, a line each."""

from benchmarks import engine, overhead, scoring, sharing, training

for benchmark in (training, scoring, overhead, sharing, engine):
    benchmark.main()
