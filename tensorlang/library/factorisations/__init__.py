"""Factorisations of params, one file each: its name, its factors, how to fit them."""
