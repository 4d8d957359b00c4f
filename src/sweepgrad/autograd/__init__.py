"""`Value`, its operations, and functions of `Value`s."""
