"""`python -m benchmarks`: every measurement, a line each."""

from benchmarks import analytics, engine, overhead, scoring, search, sharing, training

for benchmark in (training, scoring, overhead, sharing, search, engine, analytics):
    benchmark.main()
