//! All devices at once. Owns their threads, and the streets they stand in: one a class, with its
//! season and its count of answers. In: how many, how busy, a seed. Out: devices that answer until
//! told to stop, and what became of what they sent.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use fathomline_edge::Health;

use crate::{
    device::{Device, Order},
    grammar::Grammar,
    model::{Model, Quantization},
};

/// Devices that are judged together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    pub name: &'static str,
    pub quantization: Quantization,
}

/// The classes, each with one variant of the model. The last is the smallest hardware.
pub const CLASSES: [Class; 3] = [
    Class {
        name: "gateway",
        quantization: Quantization::F32,
    },
    Class {
        name: "kiosk",
        quantization: Quantization::F32,
    },
    Class {
        name: "panel",
        quantization: Quantization::Q8,
    },
];

/// Requests a second, over the whole fleet: a third of the time of two cores.
const REQUESTS_PER_SECOND: f64 = 108.0;
/// Published views fold smaller classes into their parent.
const DEVICES_PER_CLASS_MIN: usize = 3;
/// Room for candle's frames in a build without optimisation.
const STACK_BYTES: usize = 2 * 1024 * 1024;

/// Where the devices of one class stand.
#[derive(Debug, Default)]
pub(crate) struct Street {
    closed: AtomicBool,
    /// Share of requests from the new season, as bits of an `f64`.
    share: AtomicU64,
    asked: AtomicU64,
}

impl Street {
    pub(crate) fn is_open(&self) -> bool {
        !self.closed.load(Ordering::Relaxed)
    }

    pub(crate) fn share(&self) -> f64 {
        f64::from_bits(self.share.load(Ordering::Relaxed))
    }

    pub(crate) fn count(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

/// How a fleet is made up.
pub struct Muster<'a> {
    /// Over all classes.
    pub devices: usize,
    pub seed: u64,
    /// Base URL of the collector's OTLP/HTTP door.
    pub endpoint: &'a str,
    /// For spools and weights.
    pub folder: &'a Path,
}

/// Devices at work.
pub struct Fleet {
    streets: Vec<(Class, Arc<Street>)>,
    devices: Vec<JoinHandle<Result<Health>>>,
}

/// What became of what the fleet sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Requests answered.
    pub inferences: u64,
    /// Windows that the collector acknowledged.
    pub windows_stored: u64,
    pub windows_lost: u64,
}

impl Fleet {
    /// Switches every device on.
    pub fn start(muster: &Muster<'_>) -> Result<Self> {
        check_size(muster.devices)?;
        let mut fleet = Self {
            streets: vec![],
            devices: vec![],
        };
        let grammar = Arc::new(Grammar::new());
        for class in CLASSES {
            let street = Arc::new(Street::default());
            fleet.streets.push((class, Arc::clone(&street)));
            let model = Model::from_bytes(class.quantization, class.quantization.shipped())?;
            write_weights(muster.folder, class)?;
            for number in 1..=muster.devices / CLASSES.len() {
                let order = order(muster, class, number, model.clone());
                let device = Device::start(order, Arc::clone(&grammar), Arc::clone(&street))?;
                let thread = thread::Builder::new()
                    .name(format!("{}-{number:02}", class.name))
                    .stack_size(STACK_BYTES)
                    .spawn(move || device.run());
                fleet
                    .devices
                    .push(thread.context("cannot start a thread for a device")?);
            }
        }
        Ok(fleet)
    }

    pub fn devices(&self) -> usize {
        self.devices.len()
    }

    /// From now on `share` of what one class hears belongs to the new season.
    pub fn change_season(&self, class: &str, share: f64) {
        for (_, street) in self.streets.iter().filter(|(c, _)| c.name == class) {
            street.share.store(share.to_bits(), Ordering::Relaxed);
        }
    }

    /// Whether a device gave up; its reason comes out of `stop`.
    pub fn has_failed(&self) -> bool {
        self.devices.iter().any(JoinHandle::is_finished)
    }

    /// Closes the streets and waits until every device has sent what it had. Blocks.
    pub fn stop(self) -> Result<Sent> {
        for (_, street) in &self.streets {
            street.closed.store(true, Ordering::Relaxed);
        }
        let mut sent = Sent::default();
        for device in self.devices {
            let health = device.join().map_err(|_| anyhow!("a device panicked"))??;
            sent.windows_stored += health.windows_stored;
            sent.windows_lost +=
                health.windows_waiting + health.windows_refused + health.windows_dropped;
        }
        let streets = self.streets.iter();
        sent.inferences = streets.map(|(_, street)| street.asked()).sum();
        Ok(sent)
    }
}

/// Whether so many devices make equal classes that may be shown.
pub fn check_size(count: usize) -> Result<()> {
    let classes = CLASSES.len();
    ensure!(
        count.is_multiple_of(classes) && count >= DEVICES_PER_CLASS_MIN * classes,
        "cannot make {classes} equal classes of {count} devices; give a multiple of {classes} \
         from {} on",
        DEVICES_PER_CLASS_MIN * classes
    );
    Ok(())
}

/// The file whose digest the class's devices report.
fn write_weights(folder: &Path, class: Class) -> Result<()> {
    let folder = folder.join(class.name);
    fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let path = folder.join(class.quantization.file_name());
    fs::write(&path, class.quantization.shipped())
        .with_context(|| format!("cannot write {}", path.display()))
}

fn order(muster: &Muster<'_>, class: Class, number: usize, model: Model) -> Order {
    let folder = muster.folder.join(class.name);
    let index = CLASSES.iter().position(|other| *other == class);
    let index = index.unwrap_or_default() * muster.devices + number;
    Order {
        class,
        number,
        // Far apart for neighbouring seeds, so that no two demos share a device's speech.
        seed: muster.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ index as u64,
        endpoint: muster.endpoint.to_owned(),
        spool: folder.join(format!("spool-{number:02}")),
        weights: folder.join(class.quantization.file_name()),
        model,
        pause: Duration::from_secs_f64(muster.devices as f64 / REQUESTS_PER_SECOND),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn muster(devices: usize, folder: &Path) -> Muster<'_> {
        Muster {
            devices,
            seed: 1,
            // Nobody listens on the discard port: windows wait in the spools.
            endpoint: "http://127.0.0.1:9",
            folder,
        }
    }

    #[test]
    fn a_fleet_that_cannot_be_split_says_how_many_it_needs() {
        let folder = tempfile::tempdir().unwrap();
        for devices in [0, 6, 35] {
            let error = Fleet::start(&muster(devices, folder.path())).err().unwrap();
            assert!(
                error.to_string().contains("a multiple of 3 from 9 on"),
                "{error}"
            );
        }
    }

    #[test]
    fn the_new_season_reaches_one_class_only() {
        let streets = CLASSES.map(|class| (class, Arc::new(Street::default())));
        let fleet = Fleet {
            streets: streets.into(),
            devices: vec![],
        };
        fleet.change_season("kiosk", 0.7);
        let shares: Vec<f64> = fleet.streets.iter().map(|(_, s)| s.share()).collect();
        assert_eq!(shares, [0.0, 0.7, 0.0]);
    }

    #[test]
    fn every_device_has_a_seed_and_a_folder_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let (mut seeds, mut spools) = (vec![], vec![]);
        for class in CLASSES {
            let model = Model::from_bytes(class.quantization, class.quantization.shipped());
            let model = model.unwrap();
            for number in 1..=12 {
                let order = order(&muster(36, folder.path()), class, number, model.clone());
                seeds.push(order.seed);
                spools.push(order.spool);
            }
        }
        for count in [
            seeds.iter().collect::<std::collections::HashSet<_>>().len(),
            spools
                .iter()
                .collect::<std::collections::HashSet<_>>()
                .len(),
        ] {
            assert_eq!(count, 36);
        }
    }
}
