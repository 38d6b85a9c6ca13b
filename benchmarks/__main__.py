"""`python -m benchmarks`: every measurement, a line each."""

from benchmarks import analytics, engine, overhead, scaling, scoring, search, sharing, training

for benchmark in (training, scoring, overhead, sharing, search, engine, scaling, analytics):
    benchmark.main()
