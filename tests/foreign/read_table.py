"""Reads one table's Parquet files with DuckDB and with pyarrow.

In: a table folder. Out: one JSON line with the rows and the sum of `count` that each reader sees.
The live files come from the Delta log: a glob over the folder would count files that a crash left
behind or compaction replaced. Never uses a Delta library: the log is plain JSON and Parquet.
"""

import json
import sys
from pathlib import Path
from urllib.parse import unquote

import duckdb
import pyarrow.compute as pc
import pyarrow.parquet as pq


def live_files(table):
    """Replays the log: the newest checkpoint if there is one, then every later commit."""
    log = table / "_delta_log"
    live, first = set(), 0
    pointer = log / "_last_checkpoint"
    if pointer.exists():
        first = json.loads(pointer.read_text())["version"] + 1
        for row in pq.read_table(checkpoint_file(log, first - 1)).to_pylist():
            replay(live, row)
    for commit in sorted(log.glob("*.json")):
        if commit.stem.isdigit() and int(commit.stem) >= first:
            for line in commit.read_text().splitlines():
                replay(live, json.loads(line))
    return sorted(str(table / unquote(path)) for path in live)


def checkpoint_file(log, version):
    return next(log.glob(f"{version:020}.checkpoint*.parquet"))


def replay(live, action):
    if action.get("add"):
        live.add(action["add"]["path"])
    if action.get("remove"):
        live.discard(action["remove"]["path"])


def with_duckdb(files):
    rows, total = duckdb.execute(
        'SELECT count(*), coalesce(sum("count"), 0) FROM read_parquet($files)', {"files": files}
    ).fetchone()
    # Histogram cells are lists of integers any engine can unnest.
    cells = duckdb.execute(
        "SELECT coalesce(sum(list_sum(pos_counts)), 0) FROM read_parquet($files)", {"files": files}
    ).fetchone()[0]
    return {"rows": int(rows), "count": int(total), "cells": int(cells)}


def with_pyarrow(files):
    tables = [pq.ParquetFile(file).read(columns=["count", "pos_counts"]) for file in files]
    cells = [pc.sum(pc.list_flatten(table["pos_counts"])).as_py() or 0 for table in tables]
    return {
        "rows": sum(table.num_rows for table in tables),
        "count": sum(pc.sum(table["count"]).as_py() or 0 for table in tables),
        "cells": sum(cells),
    }


def main():
    files = live_files(Path(sys.argv[1]))
    json.dump({"files": len(files), "duckdb": with_duckdb(files), "pyarrow": with_pyarrow(files)}, sys.stdout)


if __name__ == "__main__":
    main()
