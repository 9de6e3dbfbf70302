"""From raw volumes to aligned BOLD, on arrays and images."""
