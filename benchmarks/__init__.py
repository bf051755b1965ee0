"""What trains, measures and compares; needs a checkout, not an installed package."""
