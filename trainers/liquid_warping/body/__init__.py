"""Fitting a body to the points of a picture by its gradients: what SMPLify optimises."""
