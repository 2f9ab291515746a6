"""What was, as one page of HTML: plots, percentiles, stability, events and what it was made of."""
