"""What holds for every test that Hypothesis drives."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is, and nothing of what is tested: no deadline, no complaint of
# slow input. The examples of "fixed" are the same each time; for others: pytest --hypothesis-profile=many
settings.register_profile(
    "fixed", deadline=None, derandomize=True, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("many", settings.get_profile("fixed"), derandomize=False, max_examples=2000)
settings.load_profile("fixed")
