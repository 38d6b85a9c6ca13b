"""The quickstart gave what it promises: every trial, and SNIP falling below ERK-random where it should."""

import analysis
from analysis.crossover import compare

connection = analysis.open("results/quickstart")
counted = connection.execute("SELECT count(*), count(*) FILTER (status = 'ok') FROM trials").fetchone()
assert counted == (216, 216), counted
early = compare(connection)[0]
[crossover] = [found for found in early.crossovers if found.baseline == "random erk"]
assert crossover.at is not None and 0.95 < crossover.at < 0.995, crossover
print("quickstart: 216 trials ok;", crossover)
