"""Hand-written NumPy gradients, and their audit against ``torch.autograd``."""
