//! The device around the model: memory, load, heat, throttling, battery. In: what Linux shows under
//! `/proc` and `/sys`, once a second. Out: levels and shares for a window, so that a slow answer on
//! a hot device is not taken for drift. What cannot be read is absent, never zero.

use std::path::{Path, PathBuf};

use crate::{
    otlp::DeviceState,
    sysfs::{folders, number, text},
};

/// What was seen since the last window.
#[derive(Debug)]
pub(crate) struct Device {
    root: PathBuf,
    /// Throttle events the processor has counted; more of them means it was held back.
    throttles: Option<f64>,
    throttled: Share,
    on_battery: Share,
    /// As it was at the last look.
    last_on_battery: Option<bool>,
}

/// In how many of how many samples something was so.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    so: u32,
    samples: u32,
}

impl Share {
    fn saw(&mut self, so: Option<bool>) {
        if let Some(so) = so {
            self.so += u32::from(so);
            self.samples += 1;
        }
    }

    fn take(&mut self) -> Option<f64> {
        let Self { so, samples } = std::mem::take(self);
        (samples > 0).then(|| f64::from(so) / f64::from(samples))
    }
}

impl Device {
    /// `root` is `/` outside of tests.
    pub(crate) fn new(root: &Path) -> Self {
        let mut device = Self {
            root: root.to_owned(),
            throttles: None,
            throttled: Share::default(),
            on_battery: Share::default(),
            last_on_battery: None,
        };
        device.throttles = device.throttle_events();
        device
    }

    /// One look, for the shares of the window.
    pub(crate) fn sample(&mut self) {
        let throttled = self.is_throttled();
        self.throttled.saw(throttled);
        let on_battery = self.is_on_battery();
        self.on_battery.saw(on_battery);
        self.last_on_battery = on_battery;
    }

    /// Whether the battery fed the device at the last look; unknown where nothing says so.
    pub(crate) fn on_battery(&self) -> Option<bool> {
        self.last_on_battery
    }

    /// Puts levels as they are now, and shares since the last call, into `state`.
    pub(crate) fn report(&mut self, state: &mut DeviceState) {
        state.memory_usage = self.kibibytes("proc/self/status", "VmRSS:");
        state.memory_available = self.kibibytes("proc/meminfo", "MemAvailable:");
        state.load = self.load();
        state.temperature = self.temperature();
        state.throttled = self.throttled.take();
        state.on_battery = self.on_battery.take();
    }

    /// A line such as `MemAvailable:   123 kB`, in bytes.
    fn kibibytes(&self, file: &str, key: &str) -> Option<f64> {
        let text = text(&self.root.join(file))?;
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
        Some(kibibytes * 1_024.0)
    }

    fn load(&self) -> Option<f64> {
        let text = text(&self.root.join("proc/loadavg"))?;
        let minute: f64 = text.split(' ').next()?.parse().ok()?;
        Some(minute / self.cores()?)
    }

    /// Cores of the device that run, as in `0-3,6`. Not those this process may use: the load is the
    /// whole device's.
    fn cores(&self) -> Option<f64> {
        let text = text(&self.root.join("sys/devices/system/cpu/online"))?;
        let ranges = text.split(',').map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
            Some(f64::from(last.checked_sub(first)?) + 1.0)
        });
        ranges.sum()
    }

    /// The hottest zone; zones that are switched off answer with an error or nonsense.
    fn temperature(&self) -> Option<f64> {
        let zones = folders(&self.root.join("sys/class/thermal")).into_iter();
        let degrees = zones.filter_map(|zone| Some(number(&zone.join("temp"))? / 1_000.0));
        degrees
            .filter(|degrees| (-40.0..=150.0).contains(degrees))
            .reduce(f64::max)
    }

    /// Held back now: a cooling device of the processor is at work, the processor counted throttle
    /// events since the last look, or a board's firmware says so. Unknown where none is shown. Not
    /// from the clock's frequency: a low one may mean that there is nothing to do.
    fn is_throttled(&mut self) -> Option<bool> {
        let events = self.throttle_events();
        let before = std::mem::replace(&mut self.throttles, events);
        let counted = events.zip(before).map(|(now, before)| now > before);
        let signs = [counted, self.is_cooling(), self.is_held_by_firmware()];
        signs.into_iter().flatten().reduce(|a, b| a | b)
    }

    fn throttle_events(&self) -> Option<f64> {
        let processors = folders(&self.root.join("sys/devices/system/cpu")).into_iter();
        let counts = processors.flat_map(|cpu| {
            let of = |file| number(&cpu.join("thermal_throttle").join(file));
            let counts = [of("core_throttle_count"), of("package_throttle_count")];
            counts.into_iter().flatten()
        });
        counts.reduce(|a, b| a + b)
    }

    /// A Raspberry Pi's firmware throttles without asking Linux, and tells in bits, hexadecimal.
    fn is_held_by_firmware(&self) -> Option<bool> {
        /// Frequency capped, throttled, or at the soft temperature limit, now.
        const HELD: u32 = 0b1110;
        let file = "sys/devices/platform/soc/soc:firmware/get_throttled";
        let text = text(&self.root.join(file))?;
        let digits = text.trim_start_matches("0x");
        Some(u32::from_str_radix(digits, 16).ok()? & HELD != 0)
    }

    fn is_cooling(&self) -> Option<bool> {
        let devices = folders(&self.root.join("sys/class/thermal")).into_iter();
        let states = devices.filter_map(|device| {
            let kind = text(&device.join("type"))?;
            // Fans and displays cool too, and slow nothing down.
            let slows = ["cpufreq", "Processor", "devfreq"]
                .iter()
                .any(|word| kind.contains(word));
            let state = number(&device.join("cur_state"))?;
            slows.then_some(state > 0.0)
        });
        states.reduce(|a, b| a | b)
    }

    fn is_on_battery(&self) -> Option<bool> {
        let supplies = folders(&self.root.join("sys/class/power_supply"));
        let says = |folder: &Path, file: &str| text(&folder.join(file));
        let of = |kind: &'static str| {
            supplies
                .iter()
                .filter(move |folder| says(folder, "type").as_deref() == Some(kind))
        };
        let batteries = of("Battery").filter(|battery| {
            // The battery of a mouse does not run the device.
            says(battery, "scope").as_deref() != Some("Device")
        });
        let discharging = batteries
            .filter_map(|battery| says(battery, "status"))
            .map(|status| status == "Discharging");
        let unplugged = of("Mains")
            .filter_map(|mains| number(&mains.join("online")))
            .map(|online| online == 0.0);
        discharging
            .reduce(|a, b| a | b)
            .or_else(|| unplugged.reduce(|a, b| a & b))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{text}\n")).unwrap();
    }

    fn report(device: &mut Device) -> DeviceState {
        let mut state = DeviceState::default();
        device.report(&mut state);
        state
    }

    #[test]
    fn an_empty_tree_says_nothing_and_not_zero() {
        let root = tempfile::tempdir().unwrap();
        let mut device = Device::new(root.path());
        device.sample();
        let state = report(&mut device);
        assert_eq!((state.memory_usage, state.memory_available), (None, None));
        assert_eq!((state.load, state.temperature), (None, None));
        assert_eq!((state.throttled, state.on_battery), (None, None));
    }

    #[test]
    fn levels_are_read_as_the_system_spells_them() {
        let root = tempfile::tempdir().unwrap();
        write(
            root.path(),
            "proc/self/status",
            "Name:\tapp\nVmRSS:\t   2048 kB",
        );
        write(
            root.path(),
            "proc/meminfo",
            "MemTotal: 9 kB\nMemAvailable:    1024 kB",
        );
        write(root.path(), "proc/loadavg", "1.50 0.9 0.5 1/100 42");
        write(root.path(), "sys/devices/system/cpu/online", "0-3,6,8-9");
        write(root.path(), "sys/class/thermal/thermal_zone0/temp", "48500");
        write(root.path(), "sys/class/thermal/thermal_zone1/temp", "61200");
        write(
            root.path(),
            "sys/class/thermal/thermal_zone2/temp",
            "-274000",
        );
        let state = report(&mut Device::new(root.path()));
        assert_eq!(state.memory_usage, Some(2_097_152.0));
        assert_eq!(state.memory_available, Some(1_048_576.0));
        assert_eq!(state.temperature, Some(61.2));
        assert_eq!(state.load, Some(1.5 / 7.0));
    }

    #[test]
    fn shares_are_of_the_window_and_start_again() {
        let root = tempfile::tempdir().unwrap();
        let cooling = "sys/class/thermal/cooling_device0";
        let count = "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count";
        write(root.path(), &format!("{cooling}/type"), "cpufreq-cpu0");
        write(root.path(), &format!("{cooling}/cur_state"), "0");
        write(
            root.path(),
            "sys/class/thermal/cooling_device1/type",
            "pwm-fan",
        );
        write(
            root.path(),
            "sys/class/thermal/cooling_device1/cur_state",
            "4",
        );
        write(root.path(), count, "7");
        write(root.path(), "sys/class/power_supply/BAT0/type", "Battery");
        write(root.path(), "sys/class/power_supply/BAT0/status", "Full");
        let mut device = Device::new(root.path());
        device.sample();
        write(root.path(), count, "8");
        device.sample();
        write(
            root.path(),
            "sys/class/power_supply/BAT0/status",
            "Discharging",
        );
        write(root.path(), &format!("{cooling}/cur_state"), "2");
        device.sample();
        device.sample();
        let state = report(&mut device);
        assert_eq!((state.throttled, state.on_battery), (Some(0.75), Some(0.5)));
        let state = report(&mut device);
        assert_eq!((state.throttled, state.on_battery), (None, None));
    }

    #[test]
    fn a_boards_firmware_says_what_holds_the_processor_now_and_not_what_did() {
        let root = tempfile::tempdir().unwrap();
        let file = "sys/devices/platform/soc/soc:firmware/get_throttled";
        let mut device = Device::new(root.path());
        // Too little voltage now, and capped earlier; then capped; then too hot; then nonsense.
        for bits in ["50001", "0x2", "8", "?"] {
            write(root.path(), file, bits);
            device.sample();
        }
        assert_eq!(report(&mut device).throttled, Some(2.0 / 3.0));
    }

    #[test]
    fn a_package_that_throttles_holds_its_cores_and_a_mouse_is_no_battery() {
        let root = tempfile::tempdir().unwrap();
        let count = "sys/devices/system/cpu/cpu2/thermal_throttle/package_throttle_count";
        write(root.path(), count, "1");
        let mouse = "sys/class/power_supply/hidpp_battery_0";
        write(root.path(), &format!("{mouse}/type"), "Battery");
        write(root.path(), &format!("{mouse}/scope"), "Device");
        write(root.path(), &format!("{mouse}/status"), "Discharging");
        write(root.path(), "sys/class/power_supply/AC/type", "Mains");
        write(root.path(), "sys/class/power_supply/AC/online", "1");
        let mut device = Device::new(root.path());
        device.sample();
        write(root.path(), count, "2");
        write(root.path(), "sys/class/power_supply/AC/online", "0");
        device.sample();
        let state = report(&mut device);
        assert_eq!((state.throttled, state.on_battery), (Some(0.5), Some(0.5)));
    }
}
