"""In which order to multiply, and what an order costs on a device: for rewrites and the planner."""
