"""What figures of a link are said to mean."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fdss.cli.bench_advice import (
    CLIENT,
    CONNECTION,
    LINK,
    PAGES,
    SERVER,
    SMALL,
    Conclusion,
    conclusion_of,
)
from fdss.cli.bench_rounds import Figure, Rounds, figures_of, kinds
from fdss.cli.bench_runs import (
    AHEAD,
    AUTO,
    LZ4,
    PLAIN,
    PLAIN_ARROW,
    ROWS,
    SHUFFLED,
    STORED,
    TAGGED,
    ZSTD,
    Key,
    Read,
    Sample,
)

NEAR_S, FAR_S = 0.001, 0.05
MB = 1e6
# Bytes of a row, as it was measured with text.
ROW_BYTES = {PLAIN_ARROW: 500, LZ4: 450, ZSTD: 200, TAGGED: 520, PLAIN: 520}


def figure(bytes_s: float, form: str = PLAIN_ARROW, cpu: float = 0.2) -> Figure:
    """Return the figure of three rounds that agree."""
    rate = bytes_s / ROW_BYTES[form]
    return Figure((rate * 0.98, rate, rate * 1.02), ROW_BYTES[form], cpu)


def everywhere(bytes_s: float) -> dict[Key, Figure]:
    """Return the figures of a link that carries so many bytes a second, whatever they are."""
    return {
        key: figure(bytes_s, key.form if key.form in ROW_BYTES else PLAIN_ARROW)
        for key in kinds(FAR_S)
    }


def told(
    figures: dict[Key, Figure], chosen: str = PLAIN_ARROW, round_trip_s: float = NEAR_S
) -> Conclusion:
    """Return what is said of figures of a large dataset, on a machine of four cores."""
    found = conclusion_of(figures, chosen, 10**9, round_trip_s, 4)
    assert found is not None
    return found


def settings(found: Conclusion) -> dict[str, str]:
    """Return what is to be set."""
    return {advice.setting: advice.value for advice in found.advice}


def test_a_slow_link_limits_and_asks_for_compression() -> None:
    """Where every form brings the same bytes, the smallest one brings the most rows."""
    found = told(everywhere(12 * MB))

    assert found.limit == LINK
    assert "12.0 MB/s" in found.text
    assert settings(found) == {
        "FORGATHER_DATASET_CLIENT_COMPRESSION": "zstd",
        "select_columns": "[...]",
    }
    assert found.advice[0].gain == pytest.approx(2.5)


def test_what_is_chosen_already_is_not_advised() -> None:
    """Over a link that is far too, zstd is what a client takes by itself."""
    figures = everywhere(2 * MB)
    figures[Key(AUTO, reads=ROWS)] = figures[Key(ZSTD, reads=ROWS)]
    found = told(figures, ZSTD, FAR_S)

    assert found.limit == LINK
    assert settings(found) == {"select_columns": "[...]"}


def test_rounds_that_disagree_advise_nothing() -> None:
    """One lucky round is no reason to change anything."""
    figures = everywhere(12 * MB)
    plain = figures[Key(PLAIN_ARROW, reads=ROWS)]
    lucky = (plain.rates[0] * 9, plain.rates[1] * 9, plain.rates[2] * 0.9)
    figures[Key(ZSTD, reads=ROWS)] = replace(plain, rates=lucky)
    figures[Key(LZ4, reads=ROWS)] = plain

    assert "FORGATHER_DATASET_CLIENT_COMPRESSION" not in settings(told(figures))


def test_what_compression_makes_no_smaller_is_not_compressed() -> None:
    """A form that is as large can only have come faster by chance."""
    figures = everywhere(12 * MB)
    for form in (LZ4, ZSTD):
        lucky = replace(figures[Key(PLAIN_ARROW)], rates=(90_000.0, 91_000.0, 92_000.0))
        figures[Key(form)] = figures[Key(form, reads=ROWS)] = lucky

    assert settings(told(figures)) == {"select_columns": "[...]"}


def test_a_slow_link_is_no_reason_for_more_processes_of_the_server() -> None:
    """What comes slowly over it in one round says nothing of the server."""
    figures = everywhere(12 * MB)
    figures[Key(PLAIN_ARROW, SHUFFLED, 4)] = figure(6 * MB)

    assert "fdss start --workers" not in settings(told(figures))


def fast() -> dict[Key, Figure]:
    """Return the figures of a loopback: bytes cost nothing, work does."""
    figures = everywhere(2000 * MB)
    for form, rate in ((LZ4, 250), (ZSTD, 60), (TAGGED, 450), (PLAIN, 450)):
        figures[Key(form)] = figure(rate * MB, form)
    for form, rate in ((LZ4, 180), (ZSTD, 50), (TAGGED, 200)):
        figures[Key(form, reads=ROWS)] = figure(rate * MB, form)
    for form in (AUTO, PLAIN_ARROW, AHEAD):
        figures[Key(form, reads=ROWS)] = figure(600 * MB, cpu=0.95)
    return figures


def test_the_making_of_rows_limits_and_asks_for_workers() -> None:
    """A process that is busy while more could come is helped by others beside it."""
    found = told(fast())

    assert found.limit == CLIENT
    assert "95% of a core" in found.text and "3.3 times" in found.text
    assert settings(found) == {"num_workers": "4"}


def test_nothing_is_advised_to_a_machine_of_one_core() -> None:
    """Where there is no core for a worker, none is asked for."""
    found = conclusion_of(fast(), PLAIN_ARROW, 10**9, NEAR_S, 1)

    assert found is not None
    assert (found.limit, found.advice) == (CLIENT, ())


def test_pages_limit_over_a_long_round_trip() -> None:
    """A process that waits while more could come asks for pages too late."""
    figures = fast()
    figures[Key(AUTO, reads=ROWS)] = figure(300 * MB, cpu=0.2)
    figures[Key(AHEAD, reads=ROWS)] = figure(900 * MB, cpu=0.5)
    found = told(figures, round_trip_s=FAR_S)

    assert found.limit == PAGES
    assert "50 ms" in found.text
    assert "FORGATHER_DATASET_CLIENT_READ_AHEAD_BYTES" in settings(found)


def test_one_connection_limits_where_several_bring_more() -> None:
    """So a window of TCP shows that is too small for its round trip."""
    figures = everywhere(10 * MB)
    figures[Key(PLAIN_ARROW, STORED, 4)] = figure(38 * MB)
    found = told(figures, round_trip_s=FAR_S)

    assert found.limit == CONNECTION
    assert settings(found)["num_workers"] == "4"


def test_the_server_limits_where_work_makes_bytes_slow() -> None:
    """Rows that come as fast as the server makes them are not helped by this end."""
    figures = fast()
    figures[Key(AUTO, reads=ROWS)] = figure(1900 * MB, cpu=0.5)
    figures[Key(PLAIN_ARROW, SHUFFLED)] = figure(200 * MB)
    figures[Key(PLAIN_ARROW, SHUFFLED, 4)] = figure(210 * MB)
    found = told(figures)

    assert found.limit == SERVER
    assert settings(found) == {"fdss start --workers": "2"}


def test_a_tiny_dataset_tells_nothing() -> None:
    """Requests are measured, not rows, and nothing is advised."""
    figures = everywhere(12 * MB)
    far_rows = round(3 * FAR_S * figures[Key(PLAIN_ARROW)].rows_s)

    for rows, round_trip_s in ((100, NEAR_S), (far_rows, FAR_S)):
        found = conclusion_of(figures, PLAIN_ARROW, rows, round_trip_s, 4)
        assert found is not None
        assert (found.limit, found.advice) == (SMALL, ())
    enough = conclusion_of(figures, PLAIN_ARROW, far_rows, NEAR_S, 4)
    assert enough is not None and enough.limit != SMALL


def test_too_few_kinds_say_nothing() -> None:
    """What was interrupted early has no conclusion."""
    assert conclusion_of({Key(PLAIN_ARROW): figure(MB)}, PLAIN_ARROW, 10**9, NEAR_S, 4) is None


def test_rounds_stop_at_an_interruption_and_keep_what_came() -> None:
    """Every kind has its turn in a round; what was measured before an end counts."""
    turns: list[Key] = []

    def reads_of(key: Key) -> Read:
        def read(begin: int, rows: int) -> Sample:
            turns.append(key)
            return Sample(1000, 5000, 0.1, 0.05)

        return read

    def tell(text: str) -> None:
        if text.startswith("round 2") and turns[-1] == Key(ZSTD):
            raise KeyboardInterrupt

    keys = [Key(form) for form in (PLAIN_ARROW, ZSTD, TAGGED)]
    rounds = Rounds({key: reads_of(key) for key in keys}, NEAR_S, tell)
    with pytest.raises(KeyboardInterrupt):
        rounds.go(float("inf"))

    assert turns[:6] == [*keys, *keys]
    assert rounds.rounds == 1
    figures = figures_of(rounds.samples, PLAIN_ARROW)
    assert {len(found.rates) for found in figures.values()} <= {1, 2}
    assert {found.rows_s for found in figures.values()} == {10_000}
    assert {found.row_bytes for found in figures.values()} == {5}
