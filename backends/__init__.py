"""What TensorLang can target, a module or folder each."""

if __name__ != "tensorlang.backends":
    raise ImportError("import tensorlang.backends, not backends")
