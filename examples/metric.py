from sweep.parts import metric


@metric(higher_is_better=False, tasks=["classification"])
def confident_errors(outputs, targets, *, confidence: float = 0.9):
    """Share of samples that get a wrong class with at least this probability."""
    probability, predicted = outputs.softmax(1).max(1)
    return ((predicted != targets) & (probability >= confidence)).double().mean()
