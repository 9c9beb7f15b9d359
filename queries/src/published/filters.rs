//! What of a query may reach stored rows. In: its filters. Out: those that cannot fail whatever a
//! row holds, which metrics they leave over, and our own filter in the terms of the store.

use std::collections::BTreeSet;

use datafusion::{
    arrow::datatypes::{DataType, SchemaRef},
    common::{Result, ScalarValue},
    logical_expr::{BinaryExpr, Expr, Operator, col, lit},
};
use fathomline_wire::names::{NOISED, PER_DEVICE, PER_DEVICE_PREFIXES};

use crate::schema::column;

/// Whether the filter only compares columns that `allowed` names with constants. Such a filter
/// cannot fail, so rows that it sees and nobody may see stay unknown.
pub(super) fn is_plain(filter: &Expr, allowed: &impl Fn(&str) -> bool) -> bool {
    let column = |expr: &Expr| matches!(expr, Expr::Column(column) if allowed(&column.name));
    let constant = |expr: &Expr| matches!(expr, Expr::Literal(..));
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::And | Operator::Or => is_plain(left, allowed) && is_plain(right, allowed),
            Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq => column(left) && constant(right) || constant(left) && column(right),
            _ => false,
        },
        Expr::Not(of) => is_plain(of, allowed),
        Expr::IsNull(of) | Expr::IsNotNull(of) => column(of),
        Expr::Between(between) => {
            column(&between.expr) && constant(&between.low) && constant(&between.high)
        }
        Expr::InList(list) => column(&list.expr) && list.list.iter().all(constant),
        Expr::Column(_) => column(filter),
        _ => false,
    }
}

/// The metrics that rows passing the filters can have; none where that is not a short list.
pub(super) fn metrics(filters: &[Expr]) -> Option<BTreeSet<String>> {
    filters.iter().find_map(named)
}

fn named(filter: &Expr) -> Option<BTreeSet<String>> {
    let is_metric =
        |expr: &Expr| matches!(expr, Expr::Column(column) if column.name == column::METRIC);
    let text = |expr: &Expr| match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten().map(str::to_owned),
        _ => None,
    };
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::Eq if is_metric(left) => text(right).map(|name| [name].into()),
            Operator::Eq if is_metric(right) => text(left).map(|name| [name].into()),
            Operator::Or => {
                let mut names = named(left)?;
                names.extend(named(right)?);
                Some(names)
            }
            Operator::And => named(left).or_else(|| named(right)),
            _ => None,
        },
        Expr::InList(list) if !list.negated && is_metric(&list.expr) => {
            list.list.iter().map(text).collect()
        }
        _ => None,
    }
}

/// The metric is one that is shown per device, by names and their beginnings; so that the store
/// skips what is none. Looser than `shown_per_device`, which decides.
pub(super) fn shown_per_device(schema: &SchemaRef) -> Result<Expr> {
    let of = schema.field_with_name(column::METRIC)?.data_type().clone();
    let text = |text: String| -> Result<Expr> { Ok(lit(ScalarValue::from(text).cast_to(&of)?)) };
    let exact = PER_DEVICE.map(|name| [name.to_owned(), format!("{name}{NOISED}")]);
    let exact = exact.into_iter().flatten().map(text);
    let any = col(column::METRIC).in_list(exact.collect::<Result<_>>()?, false);
    PER_DEVICE_PREFIXES.iter().try_fold(any, |any, prefix| {
        // What begins with "a." lies between "a." and "a/", the sign after the dot.
        let after = format!("{}/", prefix.trim_end_matches('.'));
        let metric = || col(column::METRIC);
        let from = metric().gt_eq(text((*prefix).to_owned())?);
        Ok(any.or(from.and(metric().lt(text(after)?))))
    })
}

/// The lane is so wide.
pub(super) fn width(width_us: i64) -> Expr {
    col(column::WIDTH_US).eq(lit(width_us))
}

/// The lane ended by `closed_us`.
pub(super) fn closed(schema: &SchemaRef, closed_us: i64) -> Result<Expr> {
    let of: &DataType = schema.field_with_name(column::TIME)?.data_type();
    let closed = ScalarValue::TimestampMicrosecond(Some(closed_us), Some("UTC".into()));
    Ok(col(column::TIME).lt_eq(lit(closed.cast_to(of)?)))
}
