"""Which rows of results can be analysed, as conditions in SQL: other programs may have written rows too."""

from sweep.store.parts import REQUIRED

# The SQL condition for rows that can be analysed; for `trials`, the arm is checked elsewhere.
SOUND = {
    "trials": " AND ".join(
        # `isfinite` is needed: DuckDB relies on Parquet's statistics, which leave NaN out.
        (
            *(f"{name} IS NOT NULL" for name in (*REQUIRED["trials"], "seed")),
            "isfinite(sparsity) AND sparsity >= 0 AND sparsity < 1",
        )
    ),
    "curves": "trial_id IS NOT NULL AND isfinite(epoch) "
    "AND regexp_full_match(phase, 'dense|sparse|retrain|level [0-9]{1,9}')",
    "layers": "trial_id IS NOT NULL AND layer IS NOT NULL AND name IS NOT NULL",
    # NULL stands for a value that is not finite. Fourth powers of larger ones would not be finite either.
    "metrics": "trial_id IS NOT NULL AND split IN ('validation', 'test') AND higher_is_better IS NOT NULL "
    r"AND (value IS NULL OR abs(value) <= 1e60) AND length(name) <= 200 "
    r"AND regexp_full_match(name, '[^\pC\s]([^\pC]*[^\pC\s])?')",
    "masks": "trial_id IS NOT NULL AND layer IS NOT NULL AND name IS NOT NULL AND params >= 1 "
    "AND kept >= 0 AND kept <= params AND list_min(shape) >= 1 AND list_product(shape) = params",
}
# What is to hold of a row beside that, and takes the large columns to tell. Views leave other rows out, and a
# question about the table counts them.
SOUND_IN_FULL = {
    # The bits behind the last weight are 0. A cast of no bytes would fail, so the length is looked at first.
    "masks": "CASE WHEN octet_length(bits) = greatest(1, params // 8 + (params % 8 > 0)::INT) THEN "
    "bit_count(bits::BIT) = kept AND coalesce(list_sum([get_bit(bits::BIT, place::INT) "
    "FOR place IN range(params, 8 * octet_length(bits))]), 0) = 0 ELSE false END",
}
