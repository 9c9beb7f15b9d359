//! A reference as a file (TOML): for continuous integration, for another collector, for the shelf.
//! In: a reference, or text that anybody may have changed. Out: text, or a reference whose hash is
//! the one that the file names. Numbers are written with all the digits they have, so that reading
//! gives the same bits.

use fathomline_queries::drift::Reference;
use fathomline_wire::CONTRACT_VERSION;
use serde::{Deserialize, Serialize};

/// What such a file says it is.
const FORMAT: &str = "fathomline-reference/1";

/// Larger than any reference in words.
const FILE_BYTES_MAX: usize = 1 << 20;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReferenceFile {
    format: String,
    /// SHA-256 of the reference.
    hash: String,
    reference: Reference,
}

/// The part that every version of the format and of the contract has.
#[derive(Deserialize)]
struct Head {
    format: Option<String>,
    reference: Option<HeadOfReference>,
}

#[derive(Deserialize)]
struct HeadOfReference {
    contract: Option<u32>,
}

/// Why a file is no reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot use this file as a reference: {0}")]
pub struct FileError(String);

/// The file of a reference.
pub(super) fn write(reference: &Reference) -> Result<String, FileError> {
    let file = ReferenceFile {
        format: FORMAT.to_owned(),
        hash: reference.hash(),
        reference: reference.clone(),
    };
    let text = toml::to_string(&file).map_err(|error| FileError(error.to_string()))?;
    Ok(format!(
        "# A frozen reference of Fathomline. It is named by its content: changed, it is refused.\n{text}"
    ))
}

/// The reference of a file, once everything in it was checked.
pub(super) fn read(text: &str) -> Result<Reference, FileError> {
    let refuse = |why: String| Err(FileError(why));
    if text.len() > FILE_BYTES_MAX {
        let bytes = text.len();
        return refuse(format!(
            "it has {bytes} bytes and {FILE_BYTES_MAX} are allowed"
        ));
    }
    let told = |error: toml::de::Error| FileError(error.to_string().trim_end().to_owned());
    let head: Head = toml::from_str(text).map_err(told)?;
    if head.format.as_deref() != Some(FORMAT) {
        let format = head.format.unwrap_or_default();
        return refuse(format!(
            "its format is {format:?} and this collector reads {FORMAT:?}"
        ));
    }
    let contract = head.reference.and_then(|reference| reference.contract);
    if contract != Some(CONTRACT_VERSION) {
        let contract = contract.unwrap_or_default();
        return refuse(format!(
            "it is of contract version {contract} and this collector judges by {CONTRACT_VERSION}; make one from what devices send now"
        ));
    }
    let file: ReferenceFile = toml::from_str(text).map_err(told)?;
    file.reference.check().map_err(FileError)?;
    let hash = file.reference.hash();
    if hash != file.hash {
        return refuse(format!(
            "it names itself {} and its content is {hash}; a reference cannot be edited, make another",
            file.hash
        ));
    }
    Ok(file.reference)
}

#[cfg(test)]
mod tests {
    use fathomline_queries::drift::{Lane, Level, Making, Policy, SeriesKey, Summary};
    use fathomline_queries::stats::Season;
    use fathomline_wire::histogram::ExponentialHistogram;
    use proptest::prelude::*;

    use super::*;

    const HOUR_US: i64 = 3_600_000_000;

    fn reference(seed: u64, season: Season) -> Reference {
        let lane = |hour: i64| {
            let mut histogram = ExponentialHistogram::new(4);
            for value in 0..20 {
                let spread = seed
                    .wrapping_mul(value + 3)
                    .wrapping_mul(hour.unsigned_abs() + 7);
                assert!(histogram.record(1e-3 + (spread % 1_013) as f64 / 97.0));
            }
            Lane {
                start_us: hour * HOUR_US,
                end_us: (hour + 1) * HOUR_US,
                count: histogram.count,
                summary: Summary::Histogram(histogram),
                device_windows: 1,
                devices: 1,
            }
        };
        let lanes: Vec<_> = (0..24 * 14).map(lane).collect();
        let name = |text: &str| text.to_owned();
        let key = SeriesKey {
            service: name("s"),
            model: name("m \"quoted\""),
            version: name("1"),
            variant: name("v"),
            device_class: name("c\n#"),
            metric: name("x"),
        };
        let making = Making {
            key,
            level: Level::Variant,
            season,
        };
        let policy = Policy {
            lane_us: HOUR_US,
            ..Policy::default()
        };
        making.freeze(&lanes, &policy).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn what_was_written_is_read_to_the_same_bits(seed in 1_u64..1_000_000, weekly: bool) {
            let season = if weekly { Season::HourOfWeek } else { Season::None };
            let reference = reference(seed, season);
            let text = write(&reference).unwrap();
            prop_assert!(text.len() < FILE_BYTES_MAX / 4, "{}", text.len());
            let back = read(&text).unwrap();
            prop_assert_eq!(&back, &reference);
            prop_assert_eq!(back.hash(), reference.hash());
        }
    }

    #[test]
    fn what_is_no_reference_says_why() {
        let text = write(&reference(5, Season::HourOfDay)).unwrap();
        for (file, says) in [
            (String::new(), "its format is \"\""),
            ("hello".to_owned(), "cannot use this file as a reference"),
            (
                text.replace("reference/1", "reference/2"),
                "fathomline-reference/2",
            ),
            (
                text.replace("contract = 1", "contract = 2"),
                "contract version 2",
            ),
            (
                text.replace("contract = 1", "contract = \"x\""),
                "invalid type",
            ),
            (
                text.replace("devices = 1", "devices = 2"),
                "a reference cannot be edited",
            ),
            (
                text.replace("lane_us = 3600000000", "lane_us = -1"),
                "its span holds no lane",
            ),
            (
                text.replace("[reference.key]", "[reference.lock]"),
                "missing field `key`",
            ),
            (
                text[..text.len() / 2].to_owned(),
                "cannot use this file as a reference",
            ),
            ("#".repeat(FILE_BYTES_MAX + 1), "are allowed"),
        ] {
            let refused = read(&file).unwrap_err().to_string();
            assert!(refused.contains(says), "{refused} lacks {says}");
        }
    }
}
