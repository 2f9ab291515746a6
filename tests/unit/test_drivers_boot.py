"""A Raspberry Pi's config.txt: which lines count on which board, by the documentation's table of filters."""

from __future__ import annotations

import pytest

from timesync_drivers.boot import parse_config

PI4 = "Raspberry Pi 4 Model B Rev 1.4"
OVERLAY = "dtoverlay=pps-gpio,gpiopin=4"


@pytest.mark.parametrize(
    ("model", "matching"),
    [
        ("Raspberry Pi Model B Plus Rev 1.2", {"pi1"}),
        ("Raspberry Pi Compute Module Rev 1.0", {"pi1"}),
        ("Raspberry Pi 2 Model B Rev 1.1", {"pi2"}),
        ("Raspberry Pi 3 Model B Rev 1.2", {"pi3"}),
        ("Raspberry Pi 3 Model B Plus Rev 1.3", {"pi3", "pi3+"}),
        ("Raspberry Pi 3 Model A Plus Rev 1.0", {"pi3", "pi3+"}),
        ("Raspberry Pi Compute Module 3 Plus Rev 1.0", {"pi3"}),
        (PI4, {"pi4"}),
        ("Raspberry Pi 400 Rev 1.0", {"pi4", "pi400"}),
        ("Raspberry Pi Compute Module 4 Rev 1.0", {"pi4", "cm4"}),
        ("Raspberry Pi Compute Module 4S Rev 1.0", {"pi4", "cm4s"}),
        ("Raspberry Pi 5 Model B Rev 1.0", {"pi5"}),
        ("Raspberry Pi 500 Rev 1.0", {"pi5", "pi500"}),
        ("Raspberry Pi Compute Module 5 Rev 1.0", {"pi5", "cm5"}),
        ("Raspberry Pi Zero Rev 1.3", {"pi0"}),
        ("Raspberry Pi Zero W Rev 1.1", {"pi0", "pi0w"}),
        ("Raspberry Pi Zero 2 W Rev 1.0", {"pi0", "pi0w", "pi02"}),
    ],
)
def test_a_board_sees_the_lines_below_its_own_filters_only(model: str, matching: set[str]) -> None:
    every = ["pi0", "pi0w", "pi02", "pi1", "pi2", "pi3", "pi3+", "pi4", "pi400", "pi5", "pi500", "cm4", "cm4s", "cm5"]
    text = "\n".join(f"[{name}]\ndtoverlay={name}" for name in every)
    found = parse_config(text, model)
    assert matching == {one.name for one in found.overlays}
    assert {"all"} == {one.section for one in found.overlays}
    assert set(every) - matching == {one.name for one in found.elsewhere}


@pytest.mark.parametrize("name", ["gpio4=1", "EDID=VSC-TD2220", "0x12345678", "board-type=0x14", "tryboot", "new=3"])
def test_what_a_pin_a_monitor_or_a_number_decides_is_not_judged(name: str) -> None:
    found = parse_config(f"[{name}]\n{OVERLAY}\nenable_uart=1\n", PI4)
    overlay = found.overlay("pps-gpio")
    assert overlay is not None
    assert name == overlay.section
    assert {} == found.settings


def test_a_model_that_is_not_known_leaves_its_filters_open() -> None:
    for model in (None, "Raspberry Pi 6 Model B Rev 1.0"):
        overlay = parse_config(f"[pi4]\n{OVERLAY}", model).overlay("pps-gpio")
        assert overlay is not None
        assert overlay.section == "pi4"


def test_a_filter_for_a_model_of_the_future_is_not_judged() -> None:
    overlay = parse_config(f"[pi6]\n{OVERLAY}", PI4).overlay("pps-gpio")
    assert overlay is not None
    assert overlay.section == "pi6"


def test_filters_of_a_kind_replace_each_other_and_those_of_different_kinds_count_together() -> None:
    replaced = parse_config(f"[pi3]\n[pi4]\n{OVERLAY}", PI4).overlay("pps-gpio")
    assert replaced is not None
    assert replaced.section == "all"
    both = parse_config(f"[pi4]\n[gpio4=1]\n[gpio5=0]\n{OVERLAY}", PI4).overlay("pps-gpio")
    assert both is not None
    assert both.section == "gpio4=1] [gpio5=0"
    assert parse_config(f"[gpio4=1]\n[pi3]\n{OVERLAY}", PI4).overlay("pps-gpio") is None


def test_none_stands_until_all() -> None:
    text = f"[none]\n{OVERLAY}\n[pi4]\nenable_uart=1\n[all]\ndtoverlay=disable-bt\n"
    found = parse_config(text, PI4)
    assert ["disable-bt"] == [one.name for one in found.overlays]
    assert [("pps-gpio", "none")] == [(one.name, one.section) for one in found.elsewhere]
    assert {} == found.settings


def test_a_line_that_certainly_counts_is_preferred() -> None:
    found = parse_config(f"[gpio4=1]\n{OVERLAY}\n[all]\ndtoverlay=pps-gpio,gpiopin=18\n", PI4).overlay("pps-gpio")
    assert found is not None
    assert ("all", "18") == (found.section, found.parameters["gpiopin"])


def test_an_empty_overlay_ends_the_parameters_of_the_last() -> None:
    """As the documentation has it: what follows is a parameter of the base device tree again."""
    found = parse_config("dtoverlay=pps-gpio\ndtparam=gpiopin=21\ndtoverlay=\ndtparam=gpiopin=7\n", PI4)
    assert [("pps-gpio", {"gpiopin": "21"})] == [(one.name, one.parameters) for one in found.overlays]
    assert {"dtparam": "gpiopin=7"} == found.settings


def test_a_parameter_for_another_board_is_not_this_boards() -> None:
    text = "dtoverlay=pps-gpio\n[pi3]\ndtparam=gpiopin=21\ndtoverlay=\n[all]\ndtparam=gpiopin=4\n"
    overlay = parse_config(text, PI4).overlay("pps-gpio")
    assert overlay is not None
    assert {"gpiopin": "4"} == overlay.parameters
