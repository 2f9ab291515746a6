"""The shared clock-servo core: links, estimators, selection, steering; pure."""
