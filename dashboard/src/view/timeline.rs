//! Values over time, with the limits and moments that matter. In: points, some of them unknown.
//! Out: a chart with its table. A gap stays a gap.

use askama::Template;

use super::{
    axis::{self, Tick, coordinate},
    units,
};

/// Points that can be told apart; more are joined, and the largest of each group is shown.
const POINTS_MAX: usize = 180;

/// A line: what it is called, how it is drawn, its values over time.
pub(crate) struct Line {
    pub(crate) name: &'static str,
    /// Name in the style sheet.
    pub(crate) style: &'static str,
    pub(crate) values: Vec<Option<f64>>,
}

/// A horizontal limit.
pub(crate) struct Limit {
    pub(crate) name: String,
    pub(crate) style: &'static str,
    pub(crate) value: f64,
}

/// What to draw.
pub(crate) struct Plot {
    pub(crate) title: String,
    pub(crate) unit: String,
    pub(crate) from_us: i64,
    pub(crate) to_us: i64,
    /// Times of the points, ascending.
    pub(crate) times: Vec<i64>,
    pub(crate) lines: Vec<Line>,
    pub(crate) limits: Vec<Limit>,
    /// A moment to mark, and what happened then.
    pub(crate) moment: Option<(i64, &'static str)>,
    /// What lies above is drawn at the upper edge.
    pub(crate) top_max: Option<f64>,
}

/// The chart and its table.
#[derive(Clone, Debug, Template)]
#[template(path = "partials/_timeline.html")]
pub(crate) struct Timeline {
    title: String,
    paths: Vec<Path>,
    limits: Vec<DrawnLimit>,
    moment: Option<Tick>,
    x_ticks: Vec<Tick>,
    y_ticks: Vec<Tick>,
    columns: Vec<&'static str>,
    rows: Vec<Row>,
}

#[derive(Clone, Debug)]
struct Path {
    name: &'static str,
    style: &'static str,
    line: String,
}

#[derive(Clone, Debug)]
struct DrawnLimit {
    name: String,
    style: &'static str,
    y: String,
    value: String,
}

#[derive(Clone, Debug)]
struct Row {
    time: String,
    rfc3339: String,
    values: Vec<String>,
}

/// Draws what there is; none where there is no value at all.
pub(crate) fn draw(plot: Plot) -> Option<Timeline> {
    let Plot {
        title,
        unit,
        from_us,
        to_us,
        times,
        lines,
        limits,
        moment,
        top_max,
    } = thinned(plot);
    let values = lines.iter().flat_map(|line| line.values.iter().flatten());
    let largest = values.copied().fold(f64::NAN, f64::max);
    if largest.is_nan() {
        return None;
    }
    let limit = limits.iter().map(|limit| limit.value * 1.1);
    let largest = limit.fold(largest, f64::max);
    let (top, step) = axis::rounded(top_max.map_or(largest, |max| largest.min(max)));
    let range = (from_us as f64, to_us as f64);
    let at = |us: i64| axis::x(range, us as f64);
    let path = |line: &Line| Path {
        name: line.name,
        style: line.style,
        line: strokes(&times, &line.values, at, top),
    };
    let drawn = |limit: Limit| DrawnLimit {
        y: coordinate(axis::y(top, limit.value)),
        value: units::quantity(limit.value, &unit),
        name: limit.name,
        style: limit.style,
    };
    let row = |(point, us): (usize, &i64)| Row {
        time: units::date_and_time(*us),
        rfc3339: units::rfc3339(*us),
        values: lines
            .iter()
            .map(|line| units::maybe(line.values[point], &unit))
            .collect(),
    };
    Some(Timeline {
        paths: lines.iter().map(path).collect(),
        moment: moment
            .filter(|(us, _)| (from_us..=to_us).contains(us))
            .map(|(us, what)| Tick {
                at: coordinate(at(us)),
                label: what.to_owned(),
            }),
        x_ticks: axis::time_ticks(from_us, to_us),
        y_ticks: axis::value_ticks(top, step, |value| units::quantity(value, &unit)),
        columns: lines.iter().map(|line| line.name).collect(),
        rows: times.iter().enumerate().map(row).collect(),
        limits: limits.into_iter().map(drawn).collect(),
        title,
    })
}

/// Joins neighbouring points where there are too many.
fn thinned(mut plot: Plot) -> Plot {
    let group = plot.times.len().div_ceil(POINTS_MAX).max(1);
    if group == 1 {
        return plot;
    }
    for line in &mut plot.lines {
        let groups = line.values.chunks(group);
        line.values = groups
            .map(|values| values.iter().flatten().copied().reduce(f64::max))
            .collect();
    }
    let groups = plot.times.chunks(group);
    plot.times = groups.filter_map(|times| times.last().copied()).collect();
    plot
}

/// One stroke for each run of known values; a lone point is a short dash.
fn strokes(times: &[i64], values: &[Option<f64>], at: impl Fn(i64) -> f64, top: f64) -> String {
    let mut path = String::new();
    let mut drawing = false;
    for (us, value) in times.iter().zip(values) {
        let Some(value) = value else {
            drawing = false;
            continue;
        };
        let (x, y) = (at(*us), axis::y(top, *value));
        if drawing {
            path.push_str(&format!("L{x:.1} {y:.1}"));
        } else {
            path.push_str(&format!("M{x:.1} {y:.1}h0.1"));
        }
        drawing = true;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(times: Vec<i64>, values: Vec<Option<f64>>) -> Plot {
        Plot {
            title: "evidence".to_owned(),
            unit: "1".to_owned(),
            from_us: 0,
            to_us: 1_000,
            times,
            lines: vec![Line {
                name: "score",
                style: "current",
                values,
            }],
            limits: vec![Limit {
                name: "threshold".to_owned(),
                style: "limit",
                value: 10.0,
            }],
            moment: Some((500, "since")),
            top_max: None,
        }
    }

    #[test]
    fn gaps_stay_gaps_and_limits_are_on_the_chart() {
        let values = vec![Some(1.0), None, Some(2.0), Some(3.0)];
        let timeline = draw(plot(vec![0, 250, 500, 1_000], values)).unwrap();
        assert_eq!(timeline.paths[0].line.matches('M').count(), 2);
        assert_eq!(timeline.rows[1].values, [units::UNKNOWN]);
        let limit: f64 = timeline.limits[0].y.parse().unwrap();
        assert!(limit > axis::TOP && limit < axis::BOTTOM);
        assert!(timeline.moment.is_some());
        assert!(draw(plot(vec![0], vec![None])).is_none());
    }

    #[test]
    fn many_points_are_joined_and_no_peak_is_lost() {
        let times: Vec<i64> = (0..1_000).collect();
        let mut values = vec![Some(1.0); 1_000];
        values[777] = Some(9.0);
        let timeline = draw(plot(times, values)).unwrap();
        assert!(timeline.rows.len() <= POINTS_MAX);
        let peaks = timeline.rows.iter().filter(|row| row.values == ["9.00"]);
        assert_eq!(peaks.count(), 1);
        assert_eq!(
            timeline.rows.last().unwrap().time,
            units::date_and_time(999)
        );
    }
}
