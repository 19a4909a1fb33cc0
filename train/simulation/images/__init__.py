"""Science, template and difference images of each observation."""
