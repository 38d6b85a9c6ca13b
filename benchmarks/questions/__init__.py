"""Questions that choose their own trials, held against planted truth."""
