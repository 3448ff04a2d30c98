"""What each example means, written a second time by hand in plain torch.

`oracle(P, H, *inputs)`: P maps state_dict keys to tensors, H the hyperparameters. Nothing here
knows the language or the compiler.
"""
