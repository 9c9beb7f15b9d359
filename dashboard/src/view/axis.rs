//! Where things lie on a chart. Owns the plot's frame, which the templates repeat as a viewBox. In:
//! ranges of values. Out: coordinates and ticks with labels.

use super::units;

/// The plot inside of a chart of 720 by 240.
pub(crate) const LEFT: f64 = 76.0;
pub(crate) const RIGHT: f64 = 684.0;
pub(crate) const TOP: f64 = 14.0;
pub(crate) const BOTTOM: f64 = 204.0;

/// Labels that fit side by side below a chart.
const TIME_TICKS: i64 = 6;
/// Steps between gridlines: as many as a reader can tell apart.
const VALUE_TICKS: f64 = 4.0;

/// A gridline and its label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tick {
    pub(crate) at: String,
    pub(crate) label: String,
}

/// A coordinate as text, to a tenth.
pub(crate) fn coordinate(value: f64) -> String {
    format!("{value:.1}")
}

/// Linear map of `from` to the plot's width.
pub(crate) fn x((low, high): (f64, f64), value: f64) -> f64 {
    let share = if high > low {
        (value - low) / (high - low)
    } else {
        0.5
    };
    LEFT + share.clamp(0.0, 1.0) * (RIGHT - LEFT)
}

/// Linear map of zero to `top` to the plot's height.
pub(crate) fn y(top: f64, value: f64) -> f64 {
    let share = if top > 0.0 { value / top } else { 0.0 };
    BOTTOM - share.clamp(0.0, 1.0) * (BOTTOM - TOP)
}

/// The end of an axis from zero that holds `largest`, and its step: 1, 2 or 5 times a power of ten.
pub(crate) fn rounded(largest: f64) -> (f64, f64) {
    if !(largest.is_finite() && largest > 0.0) {
        return (1.0, 0.25);
    }
    let rough = largest / VALUE_TICKS;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough * 0.999)
        .unwrap_or(10.0 * power);
    ((largest / step).ceil() * step, step)
}

/// Gridlines from zero to `top`.
pub(crate) fn value_ticks(top: f64, step: f64, label: impl Fn(f64) -> String) -> Vec<Tick> {
    let steps = (top / step).round() as u32;
    (0..=steps)
        .map(|number| {
            let value = f64::from(number) * step;
            Tick {
                at: coordinate(y(top, value)),
                label: label(value),
            }
        })
        .collect()
}

/// Times below a chart: of day, or with the date where a day is passed.
pub(crate) fn time_ticks(from_us: i64, to_us: i64) -> Vec<Tick> {
    let length = to_us - from_us;
    let range = (from_us as f64, to_us as f64);
    let day_passes = length > 86_400_000_000;
    (0..=TIME_TICKS)
        .map(|number| {
            let us = from_us + length / TIME_TICKS * number;
            let label = if day_passes {
                units::date_and_time(us).chars().skip(5).take(11).collect()
            } else {
                units::time_of_day(us)
            };
            Tick {
                at: coordinate(x(range, us as f64)),
                label,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_on_a_round_step_that_holds_the_largest_value() {
        for (largest, expected) in [
            (1.0, (1.0, 0.5)),
            (0.37, (0.4, 0.1)),
            (37.2, (40.0, 10.0)),
            (0.0, (1.0, 0.25)),
            (f64::INFINITY, (1.0, 0.25)),
        ] {
            let (top, step) = rounded(largest);
            assert!((top - expected.0).abs() < 1e-9, "{largest}: {top}");
            assert!((step - expected.1).abs() < 1e-9, "{largest}: {step}");
        }
        let ticks = value_ticks(40.0, 10.0, |value| format!("{value}"));
        let labels: Vec<_> = ticks.iter().map(|tick| tick.label.as_str()).collect();
        assert_eq!(labels, ["0", "10", "20", "30", "40"]);
        assert_eq!(
            (ticks[0].at.as_str(), ticks[4].at.as_str()),
            ("204.0", "14.0")
        );
    }

    #[test]
    fn what_lies_outside_is_drawn_at_the_edge() {
        assert_eq!((x((0.0, 1.0), -1.0), x((0.0, 1.0), 2.0)), (LEFT, RIGHT));
        assert_eq!((y(1.0, 2.0), y(1.0, -1.0)), (TOP, BOTTOM));
        assert_eq!(x((1.0, 1.0), 1.0), f64::midpoint(LEFT, RIGHT));
    }
}
