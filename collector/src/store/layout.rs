//! How rows lie in files. In: a table. Out: what its Parquet writer is told: compression, and
//! encodings by what the columns hold. Never: anything that another reader would not read.

use fathomline_queries::schema::Table;
use parquet::{
    basic::{Compression, Encoding, ZstdLevel},
    file::properties::WriterProperties,
    schema::types::ColumnPath,
};

/// Rows a row group: large enough to compress, small enough to prune by.
const ROW_GROUP_ROWS: usize = 128 * 1024;

/// Encodings by what the columns hold: times and counts grow slowly, sums share their high bytes.
pub(super) fn writer_properties(table: Table) -> WriterProperties {
    let schema = table.arrow_schema();
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS));
    let encodings = [
        (
            &["time", "start_time", "sender_time"][..],
            Encoding::DELTA_BINARY_PACKED,
        ),
        (&["sum", "min", "max"][..], Encoding::BYTE_STREAM_SPLIT),
    ];
    for (columns, encoding) in encodings {
        for column in columns
            .iter()
            .filter(|name| schema.field_with_name(name).is_ok())
        {
            let path = ColumnPath::new(vec![(*column).to_owned()]);
            builder = builder
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, encoding);
        }
    }
    for column in ["pos_counts", "neg_counts", "devices"] {
        if schema.field_with_name(column).is_ok() {
            // The path of a nested column must be given part by part or it names nothing.
            let parts = [column, "list", "element"].map(str::to_owned).to_vec();
            let path = ColumnPath::new(parts);
            builder = builder
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
        }
    }
    builder.build()
}
