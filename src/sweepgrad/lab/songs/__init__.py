"""The Spotify model: its accuracy over many splits, and the effect of duplicate rows."""
