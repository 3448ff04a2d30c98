"""The checker's diagnostics, one file a topic. Codes: E02 names, E03 sizes, E04 indices, E05 reads,
E06 types, E07 sub-layers and params, E08 hyperparameters, E09 what later versions bring.
"""
