"""The only package that knows the network: the page, its doors, and one call per browser over WebRTC."""
