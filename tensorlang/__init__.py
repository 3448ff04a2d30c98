"""TensorLang: layers as equations in index notation, compiled to PyTorch modules and Triton kernels."""
