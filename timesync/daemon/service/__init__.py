"""Making a service of the program: which files go where, what else is done to the machine, and how it is undone."""
