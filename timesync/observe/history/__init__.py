"""What the appliance keeps of its past: values of seconds, minutes and hours, in a file that stays within its size."""
