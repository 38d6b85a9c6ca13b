"""Questions that choose their own trials: statistics that hold at every look, and planners without Ray or
torch.

The planners know nothing of studies and engines. They are pure functions of the results, in the order of the
seeds.
"""
