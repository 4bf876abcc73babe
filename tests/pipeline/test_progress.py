"""What is read from a run's metrics.jsonl while it trains."""

from pathlib import Path

from pipeline.progress import first_and_last


def test_the_speed_of_a_resumed_run_leaves_out_what_it_repeats(tmp_path: Path) -> None:
    """Points of the curve from before the stop come back at once, as if in no time."""
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        '{"step": 0, "time": 100.0, "restored": 1}\n'
        '{"step": 1000, "time": 100.1, "restored": 1}\n'
        '{"step": 1500, "time": 100.2}\n'
        '{"step": 1600, "time": 110.2}\n'
    )
    first, last = first_and_last(path)
    assert (first["step"], last["step"]) == (1500, 1600)


def test_a_file_of_nothing_but_repeated_lines_tells_no_speed(tmp_path: Path) -> None:
    """Until the first new report there is none."""
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 0, "time": 100.0, "restored": 1}\n')
    assert first_and_last(path) == ({}, {})
