"""Objects from class maps: touching ones are separated by rules, some with learned distances."""
