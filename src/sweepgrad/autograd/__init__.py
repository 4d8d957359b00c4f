"""`Value`, its operations and the functions built from them."""
