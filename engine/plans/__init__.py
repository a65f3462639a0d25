"""Plans: graphs compiled for one GPU. What is asked for, under which key it is kept, and how it comes into use.

A plan is native code. It is built on the machine that runs it, kept in a folder that only its user can enter, and
loaded only when that user's own HMAC stands under it; docs/gpu_backends.md says how.
"""
