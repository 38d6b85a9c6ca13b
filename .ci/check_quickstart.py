"""The quickstart gave what it promises: all trials, and SNIP's mean below ERK-random's where it should be."""

import analysis
from analysis.crossover import compare

connection = analysis.open("results/quickstart")
counted = connection.execute("SELECT count(*), count(*) FILTER (status = 'ok') FROM trials").fetchone()
assert counted == (216, 216), counted
early = compare(connection)[0]
[crossover] = [found for found in early.crossovers if found.second == "random erk"]
assert crossover.at is not None and 0.95 < crossover.at < 0.995, crossover
print("quickstart: 216 trials ok;", crossover)
