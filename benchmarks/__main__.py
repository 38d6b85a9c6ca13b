"""`python -m benchmarks`: every measurement, a line each."""

from benchmarks import analytics, engine, scoring, training

for benchmark in (training, scoring, engine, analytics):
    benchmark.main()
