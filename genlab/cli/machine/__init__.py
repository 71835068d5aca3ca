"""Commands about this machine: what is installed, and how fast training runs."""
