"""`python -m benchmarks`: every measurement, a line each."""

from benchmarks import analytics, curation, engine, overhead, scaling, scoring, search, sharing, training

for benchmark in (training, scoring, overhead, sharing, search, engine, scaling, analytics, curation):
    benchmark.main()
