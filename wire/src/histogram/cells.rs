//! Ordered cells: the one view through which quantiles, shares and distances are read, whatever
//! kind of histogram it was. In: cells from most negative to most positive. Out: numbers.

/// How counts are spread inside of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellKind {
    /// Negative exponential bucket: log-linear on the absolute value.
    Negative,
    /// Zero bucket or explicit bucket: linear.
    Linear,
    /// Positive exponential bucket: log-linear.
    Positive,
}

/// `count` values in `(lower, upper]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    /// Lower end.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
    /// How many values.
    pub count: u64,
    /// How they are taken to be spread.
    pub kind: CellKind,
}

impl Cell {
    /// The value below which `share` of the cell lies.
    fn value_at(&self, share: f64) -> f64 {
        match self.kind {
            CellKind::Positive => self.lower * (self.upper / self.lower).powf(share),
            CellKind::Negative => -((-self.lower) * (self.upper / self.lower).powf(share)),
            CellKind::Linear => self.lower + (self.upper - self.lower) * share,
        }
    }

    /// The share of the cell at or below `x`, for `lower < x < upper`.
    fn share_below(&self, x: f64) -> f64 {
        match self.kind {
            CellKind::Linear => (x - self.lower) / (self.upper - self.lower),
            CellKind::Positive | CellKind::Negative => {
                (x / self.lower).ln() / (self.upper / self.lower).ln()
            }
        }
    }
}

/// First cell whose cumulative count reaches `q * total`, interpolated inside of it.
pub(super) fn quantile(cells: &[Cell], q: f64) -> Option<f64> {
    let total: u64 = cells.iter().map(|cell| cell.count).sum();
    let target = q * total as f64;
    let mut below = 0.0;
    for cell in cells.iter().filter(|cell| cell.count > 0) {
        let count = cell.count as f64;
        if below + count >= target {
            return Some(cell.value_at((target - below) / count));
        }
        below += count;
    }
    None
}

/// How many values lie at or below `x`; a fraction where `x` cuts a cell.
pub(super) fn count_at_or_below(cells: &[Cell], x: f64) -> f64 {
    let mut below = 0.0;
    for cell in cells {
        if x >= cell.upper {
            below += cell.count as f64;
        } else if x > cell.lower {
            below += cell.count as f64 * cell.share_below(x);
        } else {
            break;
        }
    }
    below
}
