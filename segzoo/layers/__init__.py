"""Building blocks that more than one network part is made of; one concept a file."""
