"""Tables, plots, ledgers and the page, always made from all records."""
