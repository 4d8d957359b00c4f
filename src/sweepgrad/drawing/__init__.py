"""Graphs of `Value`s as pictures, as text, and as a page that steps through the backward pass."""
