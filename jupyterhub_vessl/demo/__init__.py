"""What ``make demo`` starts: a whole hub on one machine, from the same parts that production uses."""
