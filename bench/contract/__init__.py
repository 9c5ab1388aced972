"""What a method and a dataset promise, as checks that plugin authors and the tests both run."""
