"""Methods and datasets by name: discovery, registration, look-up."""
