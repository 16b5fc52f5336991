"""Training of score networks: the randomised channel family, the loss and the loop."""
