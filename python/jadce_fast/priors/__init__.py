"""Priors: what a receiver knows about an active device's channel."""
