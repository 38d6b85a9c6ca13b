"""`python -m benchmarks`: every measurement, a line each."""

from benchmarks import engine, overhead, scoring, search, sharing, training

for benchmark in (training, scoring, overhead, sharing, search, engine):
    benchmark.main()
