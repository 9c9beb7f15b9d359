"""Reads one table's Parquet files with DuckDB, pyarrow and Polars.

In: a table folder. Out: one JSON line: what kind each column is, and what each reader sees in it:
how many values there are, and a sum, the first and last time, how much text, or how much is true. The
live files come from the Delta log: a glob over the folder would count files that a crash left
behind or compaction replaced. Never uses a Delta library: the log is plain JSON and Parquet.
"""

import json
import sys
from pathlib import Path
from urllib.parse import unquote

import duckdb
import polars as pl
import pyarrow as pa
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


def kind_of(column):
    """Of an Arrow type, the only thing that is compared."""
    if pa.types.is_dictionary(column):
        column = column.value_type
    kinds = [
        ("list", pa.types.is_list(column) or pa.types.is_large_list(column)),
        ("time", pa.types.is_timestamp(column)),
        ("truth", pa.types.is_boolean(column)),
        ("number", pa.types.is_integer(column) or pa.types.is_floating(column)),
        ("text", pa.types.is_string(column) or pa.types.is_large_string(column)),
    ]
    return next(kind for kind, holds in kinds if holds)


def with_duckdb(files, kinds):
    figures = {
        "list": "sum(list_sum({c})::DOUBLE)",
        "time": "[min(epoch_us({c})), max(epoch_us({c}))]",
        "truth": "count(*) FILTER ({c})",
        "number": "sum({c}::DOUBLE)",
        "text": "sum(length({c}))",
    }
    asked = [f"count({{c}}), {figures[kind]}".format(c=f'"{name}"') for name, kind in kinds.items()]
    answer = duckdb.execute(
        f"SELECT count(*), {', '.join(asked)} FROM read_parquet($files)", {"files": files}
    ).fetchone()
    pairs = zip(answer[1::2], answer[2::2])
    return {"rows": answer[0], **dict(zip(kinds, map(list, pairs)))}


def with_pyarrow(files, kinds):
    table = pa.concat_tables(pq.ParquetFile(file).read() for file in files)
    figures = {
        "list": lambda column: pc.sum(pc.cast(pc.list_flatten(column), pa.float64(), safe=False)),
        "time": lambda column: pc.min_max(pc.cast(column, pa.int64())),
        "truth": pc.sum,
        "number": lambda column: pc.sum(pc.cast(column, pa.float64(), safe=False)),
        "text": lambda column: pc.sum(pc.utf8_length(pc.cast(column, pa.string()))),
    }
    seen = {"rows": table.num_rows}
    for name, kind in kinds.items():
        figure = figures[kind](table[name]).as_py()
        if kind == "time":
            figure = [figure["min"], figure["max"]]
        seen[name] = [pc.count(table[name]).as_py(), figure]
    return seen


def with_polars(files, kinds):
    table = pl.read_parquet(files)
    figures = {
        "list": lambda column: column.explode().cast(pl.Float64).sum(),
        "time": lambda column: [column.cast(pl.Int64).min(), column.cast(pl.Int64).max()],
        "truth": lambda column: column.sum(),
        "number": lambda column: column.cast(pl.Float64).sum(),
        "text": lambda column: column.cast(pl.String).str.len_chars().sum(),
    }
    seen = {"rows": table.height}
    for name, kind in kinds.items():
        seen[name] = [table[name].count(), figures[kind](table[name])]
    return seen


def main():
    files = live_files(Path(sys.argv[1]))
    columns = pq.ParquetFile(files[0]).schema_arrow if files else []
    kinds = {column.name: kind_of(column.type) for column in columns}
    readers = {"duckdb": with_duckdb, "pyarrow": with_pyarrow, "polars": with_polars}
    seen = {name: reader(files, kinds) for name, reader in readers.items() if files}
    json.dump({"files": len(files), "kinds": kinds, "readers": seen}, sys.stdout)


if __name__ == "__main__":
    main()
