"""Connections that this server opens to others: its streams pushed by WHIP, others' pulled by WHEP."""
