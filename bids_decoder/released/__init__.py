"""Released single-trial responses in the layouts in which laboratories and toolboxes give them."""
