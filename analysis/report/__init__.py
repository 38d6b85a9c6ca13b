"""The report: a page with every answer, its charts, and what is exported of it."""
