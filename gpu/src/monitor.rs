//! What a card says of itself: utilization, memory, power, temperature. NVML comes with the driver and is loaded at run time.

use nvml_wrapper::Nvml;
use nvml_wrapper::enum_wrappers::device::TemperatureSensor;

/// One look at a card. What it does not tell is not there.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Reading {
    /// Share of the last second or so in which a kernel ran, in [0, 1].
    pub utilization: Option<f64>,
    /// Bytes of its memory in use, by all processes.
    pub memory_bytes: Option<f64>,
    /// Watts.
    pub power_watts: Option<f64>,
    /// Degrees Celsius of the chip.
    pub temperature_celsius: Option<f64>,
}

impl Reading {
    /// Names and values of what is there.
    pub fn values(self) -> impl Iterator<Item = (&'static str, f64)> {
        let all = [
            ("gpu_utilization", self.utilization),
            ("gpu_memory_bytes", self.memory_bytes),
            ("gpu_power_watts", self.power_watts),
            ("gpu_temperature_celsius", self.temperature_celsius),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?)))
    }
}

/// Something that can be looked at.
pub trait Monitor: std::fmt::Debug + Send + Sync {
    /// A look; takes well under a millisecond or so.
    fn read(&self) -> Reading;
}

/// NVML for one card.
#[derive(Debug)]
pub struct CardMonitor {
    nvml: Nvml,
    uuid: String,
}

impl CardMonitor {
    /// Of the card with a UUID such as `GPU-5b4e…`. None where NVML is missing or does not know it, as for a part of a card.
    #[must_use]
    pub fn new(uuid: &str) -> Option<Self> {
        let path = std::ffi::OsStr::new("libnvidia-ml.so.1");
        let nvml = Nvml::builder().lib_path(path).init().ok()?;
        nvml.device_by_uuid(uuid).ok()?;
        Some(Self { nvml, uuid: uuid.to_owned() })
    }
}

impl Monitor for CardMonitor {
    fn read(&self) -> Reading {
        let Ok(device) = self.nvml.device_by_uuid(self.uuid.as_str()) else { return Reading::default() };
        Reading {
            utilization: device.utilization_rates().ok().map(|rates| f64::from(rates.gpu) / 100.0),
            memory_bytes: device.memory_info().ok().map(|memory| memory.used as f64),
            power_watts: device.power_usage().ok().map(|milliwatts| f64::from(milliwatts) / 1000.0),
            temperature_celsius: device.temperature(TemperatureSensor::Gpu).ok().map(f64::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_card_does_not_tell_is_no_metric() {
        let reading = Reading { power_watts: Some(70.5), ..Reading::default() };
        assert_eq!(reading.values().collect::<Vec<_>>(), [("gpu_power_watts", 70.5)]);
    }

    #[test]
    fn a_card_that_is_not_there_has_no_monitor() {
        assert!(CardMonitor::new("GPU-00000000-0000-0000-0000-000000000000").is_none());
    }
}
