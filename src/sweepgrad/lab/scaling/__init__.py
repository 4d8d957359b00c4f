"""The scale of the output sigmoid: equivalent runs, and pictures."""
