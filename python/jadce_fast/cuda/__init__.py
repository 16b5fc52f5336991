"""All that needs a GPU, and nothing else does: imported on first use."""
