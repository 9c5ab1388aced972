"""Published figures next to ours."""
