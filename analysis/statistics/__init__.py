"""The mathematics of the answers: from the rows of a query to estimates, intervals and tests."""
