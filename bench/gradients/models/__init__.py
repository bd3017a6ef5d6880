"""The models of the derivations, each with its gradients by hand and PyTorch's counterpart."""
