"""Records as a data frame, and as the rows and columns of tables."""
