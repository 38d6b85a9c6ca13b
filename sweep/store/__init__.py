"""What is on disk or in an object store: results, locks, provenance. Imports no torch."""
