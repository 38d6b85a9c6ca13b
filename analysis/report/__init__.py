"""The report: a page with all answers and charts; and exports of tables and pictures."""
