"""Export kept models to formats of other libraries, and predictions to formats of viewers."""
