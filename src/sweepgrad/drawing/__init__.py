"""Graphs of `Value`s as pictures, as text, and as a page that goes through the backward pass step by step."""
