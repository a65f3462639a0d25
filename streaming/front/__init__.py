"""Several servers, a process for each GPU, behind one door; docs/sessions.md."""
