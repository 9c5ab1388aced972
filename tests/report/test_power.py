"""The ledger of the suite `reference`."""

from records import make_cell, make_record

from bench.report.published.power import power_markdown
from bench.spec import Record


def _records(specimens: int) -> dict[str, Record]:
    """A record of `lora`, and of `unet`, which is 10 points worse on every specimen."""
    records = [
        make_record(
            make_cell(method),
            dice=dice,
            image_dice=[dice + 0.001 * number for number in range(specimens)],
        )
        for method, dice in (("lora", 0.8), ("unet", 0.7))
    ]
    return {record.cell.id: record for record in records}


def test_ten_specimens_tell_ten_points_apart() -> None:
    records = _records(10)
    text = power_markdown([record.cell for record in records.values()], records)
    (line,) = [line for line in text.splitlines() if "`lora`" in line]
    *_, rows, specimens, difference, best, equal, worse, _ = map(str.strip, line.split("|"))
    assert (rows, specimens, best, equal, worse) == ("2", "10", "`lora`", "0", "1")
    assert float(difference) < 10
    assert "2 of 2 runs have a record." in text


def test_two_specimens_tell_nothing_apart() -> None:
    records = _records(2)
    text = power_markdown([record.cell for record in records.values()], records)
    (line,) = [line for line in text.splitlines() if "`lora`" in line]
    *_, specimens, difference, _, equal, worse, _ = map(str.strip, line.split("|"))
    assert (specimens, difference, equal, worse) == ("2", "—", "—", "—")


def test_without_records_there_is_no_line() -> None:
    cells = [record.cell for record in _records(2).values()]
    text = power_markdown(cells, {})
    assert "0 of 2 runs have a record." in text
    assert "`lora`" not in text
