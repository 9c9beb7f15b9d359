"""Looks for a text in every Parquet file below a folder, live or not.

In: a folder and texts. Out: one line for each file and column that holds one of them. Compressed
pages hide text from a search through bytes, so every value is read.
"""

import sys
from pathlib import Path

import pyarrow.parquet as pq


def main():
    folder, texts = Path(sys.argv[1]), sys.argv[2:]
    files = sorted(folder.rglob("*.parquet"))
    if not files:
        raise SystemExit(f"no Parquet file below {folder}")
    for file in files:
        parquet = pq.ParquetFile(file)
        for name, column in zip(parquet.schema_arrow.names, parquet.read().columns):
            values = {str(value) for value in column.to_pylist()} | {name}
            for text in texts:
                if any(text in value for value in values):
                    print(f"{file.name} {name} {text}")


if __name__ == "__main__":
    main()
