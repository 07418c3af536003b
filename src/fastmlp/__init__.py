"""Multi-layer perceptrons on the CPU: small, exact and fast."""
