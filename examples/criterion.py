def half_gradient(probe, *, power: float = 0.5):
    """|w| · |E g|^power: magnitude at power 0, SNIP at power 1, half of the way at 0.5."""
    gradient = probe.gradient()
    return {name: weight.abs() * gradient[name].abs() ** power for name, weight in probe.weights.items()}
