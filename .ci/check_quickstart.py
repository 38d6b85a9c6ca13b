"""The quickstart gave what it promises: all trials, and SNIP certainly below ERK-random at 0.995."""

import analysis
from analysis.questions.crossover import compare

connection = analysis.open("results/quickstart")
counted = connection.execute("SELECT count(*), count(*) FILTER (status = 'ok') FROM trials").fetchone()
assert counted == (216, 216), counted
[crossover] = compare(connection, "snip", "random:erk")[0].crossovers
signs = {difference.sparsity: difference.sign for difference in crossover.differences}
assert signs[0.995] == -1, crossover
print("quickstart: 216 trials ok;", crossover)
