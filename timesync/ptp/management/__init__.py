"""The management of a PTP clock (IEEE 1588-2019, clause 15, and linuxptp's extensions)."""
