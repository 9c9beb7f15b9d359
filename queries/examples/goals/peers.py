"""The peers of the goals, over the files that `goals.rs` wrote: DuckDB and ClickHouse (chdb) merge
the same buckets, evidently judges the same raw values.

In: the data folder and a number of rounds. Out: one JSON object a line, as `ours.rs` describes it.
Time counts from the question to the merged buckets, imports and connecting left out; what is made
of the buckets to compare answers is not counted, so peers are let off the last step of ours.
"""

import glob
import json
import os
import resource
import sys
import time

import chdb.session
import duckdb
import numpy as np
import pandas as pd

FOLDER, ROUNDS = sys.argv[1], int(sys.argv[2])
METRIC = "gen_ai.server.time_to_first_token"
MIDDLE = "2024-09-19 12:00:00"  # 360 hours before the noon that fleet.rs ends its hours with
SCALES = {"s": 5, "1": 4}


def files(table):
    return sorted(glob.glob(f"{FOLDER}/tables/{table}/date=*/*.parquet"))


def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measured(who, question, ask, rows):
    wall, used = time.perf_counter(), cpu()
    found = ask()
    wall, used = time.perf_counter() - wall, cpu() - used
    figure = {"who": who, "question": question, "wall": wall, "cpu": used, "rows": rows(found)}
    print(json.dumps(figure), flush=True)


def below(index, count, zeros, bound, scale):
    """How many values lie at or below 2^bound: bucket i ends at 2^((i + 1) / 2^scale)."""
    return int(zeros + count[index < bound * 2**scale].sum())


def psi(reference, current):
    """As `stats` does: ten bins of about equal reference counts, half a count added to each."""
    total, cuts, so_far, wanted = reference.sum(), [], 0, 1
    for cell, count in enumerate(reference):
        so_far += count
        if so_far * 10 >= wanted * total and wanted < 10:
            cuts.append(cell + 1)
            while so_far * 10 >= wanted * total:
                wanted += 1
    while cuts and reference[cuts[-1]:].sum() == 0:
        cuts.pop()
    shares = []
    for counts in (reference, current):
        bins = np.array([part.sum() for part in np.split(counts, cuts)]) + 0.5
        shares.append(bins / bins.sum())
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


# What both engines answer is brought to {group: (offset, counts, zeros, scale)}.


def fleet_rows(groups):
    def row(key):
        offset, counts, zeros, scale = groups[key]
        index = offset + np.arange(len(counts))
        cuts = [below(index, counts, zeros, bound, scale) for bound in (-5, -2, 0, 2)]
        return [*key, int(counts.sum() + zeros), *cuts]

    return [row(key) for key in sorted(groups)]


def device_rows(groups):
    def row(key):
        offset, counts, zeros, scale = groups[key]
        index = offset + np.arange(len(counts))
        return [*key, int(counts.sum() + zeros), below(index, counts, zeros, -2, scale)]

    return [row(key) for key in sorted(groups)]


def drift_rows(groups):
    """Groups end in whether they are current; others are the reference."""
    rows = []
    for key in sorted({key[:-1] for key in groups}):
        halves = [groups[(*key, half)] for half in (0, 1)]
        start = min(offset for offset, *_ in halves)
        end = max(offset + len(counts) for offset, counts, *_ in halves)
        dense = np.zeros((2, end - start), dtype=np.int64)
        for side, (offset, counts, *_) in enumerate(halves):
            dense[side, offset - start : offset - start + len(counts)] = counts
        rows.append([*key, psi(*dense)])
    return rows


POINTS, ONE = "distributions", f"metric = '{METRIC}'"
QUESTIONS = [
    # question, table, columns of a group, filter, rows
    ("G4 merge by model, version, metric", POINTS, ["model", "version", "metric"], "", fleet_rows),
    ("G4 merge of one metric by device", POINTS, ["device"], ONE, device_rows),
    ("G5 drift of each device, 30 days", "device_hours", ["device"], ONE, drift_rows),
    ("G5 drift of the fleet, 30 days", "rollups", ["'fleet'"], ONE, drift_rows),
]


def duckdb_groups(frame, width):
    groups = {}
    frame = frame.sort_values(list(frame.columns[:width]) + ["i"])
    for key, part in frame.groupby(list(frame.columns[:width]), sort=False):
        index, counts = part["i"].to_numpy(), part["c"].to_numpy().astype(np.int64)
        dense = np.zeros(index[-1] - index[0] + 1, dtype=np.int64)
        dense[index - index[0]] = counts
        groups[tuple(key)] = (int(index[0]), dense, 0, int(part["scale"].iloc[0]))
    return groups


def ask_duckdb():
    connection = duckdb.connect()
    connection.execute("SET threads = 2; SET TimeZone = 'UTC'")
    for question, table, columns, where, rows in QUESTIONS:
        half = [f"CAST(time > '{MIDDLE}' AS INT) AS half"] if rows is drift_rows else []
        group = [f"{column} AS g{at}" for at, column in enumerate(columns)] + half
        names = ", ".join(f"g{at}" for at in range(len(columns))) + (", half" if half else "")
        sql = f"""
            SELECT {names}, scale, i, sum(c) AS c FROM (
                SELECT {", ".join(group)}, scale,
                    pos_offset + generate_subscripts(pos_counts, 1) - 1 AS i,
                    unnest(pos_counts) AS c
                FROM read_parquet({files(table)}) {"WHERE " + where if where else ""})
            GROUP BY ALL"""
        width = len(columns) + len(half)
        for _ in range(ROUNDS):
            measured(
                f"DuckDB {duckdb.__version__}, unnest",
                question,
                lambda: connection.execute(sql).df(),
                lambda frame: rows(duckdb_groups(frame, width)),
            )


def ask_clickhouse():
    session = chdb.session.Session()
    version = session.query("SELECT version()", "TabSeparated").bytes().decode().strip()
    for question, table, columns, where, rows in QUESTIONS:
        half = [f"time > toDateTime64('{MIDDLE}', 6, 'UTC')"] if rows is drift_rows else []
        group = ", ".join(columns + half)
        source = f"file('{FOLDER}/tables/{table}/date=*/*.parquet', Parquet)"
        where = f"WHERE {where}" if where else ""
        # Arrays add up from one common offset a metric, which is looked up first and counted.
        least = f"SELECT metric, min(pos_offset) AS least FROM {source} {where} GROUP BY metric"

        def ask():
            found = json.loads(session.query(least, "JSONCompact").bytes())["data"]
            names, offsets = [name for name, _ in found], [int(offset) for _, offset in found]
            base = f"transform(metric, {names}, {offsets}, 0)"
            sql = f"""
                SELECT {group}, any({base}), any(scale),
                    sumForEach(arrayConcat(
                        arrayWithConstant(toUInt32(pos_offset - {base}), toInt64(0)), pos_counts))
                FROM {source} {where} GROUP BY {group}
                SETTINGS max_threads = 2, session_timezone = 'UTC',
                    schema_inference_make_columns_nullable = 0,
                    output_format_json_quote_64bit_integers = 0"""
            return session.query(sql, "JSONCompact").bytes()

        def groups(found):
            found = json.loads(found)["data"]
            return {
                tuple(key): (int(offset), np.array(counts, dtype=np.int64), 0, int(scale))
                for *key, offset, scale, counts in found
            }

        for _ in range(ROUNDS):
            who = f"ClickHouse {version}, sumForEach"
            measured(who, question, ask, lambda found: rows(groups(found)))


def ask_evidently():
    import evidently
    from evidently import Report
    from evidently.metrics import ValueDrift

    def ask():
        reference, current = (
            pd.read_parquet(f"{FOLDER}/raw/{name}.parquet") for name in ("reference", "current")
        )
        found = {}
        for method in ("psi", "ks"):
            metrics = [ValueDrift(column=column, method=method) for column in reference.columns]
            snapshot = Report(metrics).run(current, reference)
            found[method] = [metric["value"] for metric in snapshot.dict()["metrics"]]
        return found

    def rows(found):
        both = zip(found["psi"], found["ks"])
        return [
            [f"c{at}", float(psi), bool(psi >= 0.1), bool(p < 0.05)]
            for at, (psi, p) in enumerate(both)
        ]

    for _ in range(ROUNDS):
        measured(f"evidently {evidently.__version__}, PSI and KS", "G6 raw values", ask, rows)


if __name__ == "__main__":
    os.environ["TZ"] = "UTC"
    ask_duckdb()
    ask_clickhouse()
    ask_evidently()
