//! What the counts of a network come to, as formulas in K, NIC, NF and NC.
//!
//! With `P = H·W/16`, which is a whole number, as H and W are multiples of 4:
//!
//! | | weights | outputs | connections |
//! |---|---|---|---|
//! | `pool_upsample` | `K²(NIC·NF + NF·NC + NC² + 4NF²) + 12NF + 4NC` | `P(45NF + 52NC)` | `P(K²(16NIC·NF + 4NF·NC + 16NC² + 10NF²) + 38NF + 32NC)` |
//! | `conv_transpose` | the same | `P(20NF + 48NC)` | `P(K²(4NIC·NF + 4NF·NC + 16NC² + 4NF²) + 10NF + 16NC)` |
//! | `unet` | `K²(NIC·NF + 2NF·NC + NC² + 4NF² + NIC·NC) + 12NF + 4NC` | `P(20NF + 48NC)` | `P(K²(4NIC·NF + 8NF·NC + 16NC² + 4NF² + 16NIC·NC) + 10NF + 16NC)` |
//!
//! A picture of 32×32 has P = 64. Every count is as written on the layers' table, and none depends on a dilation. Doubling H and W
//! multiplies weights, outputs and connections by 1, 4 and 4.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::graph::product;
use super::{Architecture, NetworkConfig, NetworkError};

/// A formula and its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedForm {
    /// In K, NIC, NF and NC, with the numbers of the picture's size.
    pub formula: String,
    pub value: u64,
}

/// The formulas of one network for pictures of one size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedForms {
    pub weights: ClosedForm,
    pub outputs: ClosedForm,
    pub connections: ClosedForm,
}

/// `scale·(K²·(a·NIC·NF + b·NF·NC + c·NC² + d·NF² + e·NIC·NC) + f·NF + g·NC)`.
struct Form {
    scale: u64,
    /// a to e.
    with_kernel: [u64; 5],
    /// f and g.
    plain: [u64; 2],
}

impl Form {
    fn evaluate(&self, config: &NetworkConfig) -> Result<ClosedForm, NetworkError> {
        let (nic, nf, nc) = (config.in_channels, config.num_filters, config.num_colours);
        let pairs = [("NIC·NF", nic, nf), ("NF·NC", nf, nc), ("NC²", nc, nc), ("NF²", nf, nf), ("NIC·NC", nic, nc)];
        let (mut inside, mut outside, mut value) = (String::new(), String::new(), 0_u64);
        let mut add = |text: &mut String, coefficient: u64, name: &str, factors: &[u64]| -> Result<(), NetworkError> {
            let coefficient = product(&[coefficient, self.scale])?;
            value = product(factors)?.checked_mul(coefficient).and_then(|term| value.checked_add(term)).ok_or(NetworkError::Overflow)?;
            let plus = if text.is_empty() { "" } else { " + " };
            let times = if coefficient == 1 { String::new() } else { format!("{coefficient}·") };
            // Writing to a string cannot fail.
            let _ = write!(text, "{plus}{times}{name}");
            Ok(())
        };
        for ((name, one, other), coefficient) in pairs.into_iter().zip(self.with_kernel).filter(|(_, coefficient)| *coefficient > 0) {
            add(&mut inside, coefficient, name, &[config.kernel, config.kernel, one, other])?;
        }
        for ((name, factor), coefficient) in [("NF", nf), ("NC", nc)].into_iter().zip(self.plain) {
            add(&mut outside, coefficient, name, &[factor])?;
        }
        let formula = if inside.is_empty() { outside } else { format!("K²({inside}) + {outside}") };
        Ok(ClosedForm { formula, value })
    }
}

impl NetworkConfig {
    /// The counts as closed forms, which do not know the layers. Fails where a field is out of range or a count exceeds 64 bits.
    pub fn closed_forms(&self) -> Result<ClosedForms, NetworkError> {
        self.validate()?;
        let sixteenth = product(&[self.height / 4, self.width / 4])?;
        let skips = u64::from(self.architecture == Architecture::Unet);
        let weights = Form { scale: 1, with_kernel: [1, 1 + skips, 1, 4, skips], plain: [12, 4] };
        let (outputs, connections) = match self.architecture {
            Architecture::PoolUpsample => ([45, 52], ([16, 4, 16, 10, 0], [38, 32])),
            Architecture::ConvTranspose | Architecture::Unet => ([20, 48], ([4, 4 + 4 * skips, 16, 4, 16 * skips], [10, 16])),
        };
        let outputs = Form { scale: sixteenth, with_kernel: [0; 5], plain: outputs };
        let connections = Form { scale: sixteenth, with_kernel: connections.0, plain: connections.1 };
        Ok(ClosedForms { weights: weights.evaluate(self)?, outputs: outputs.evaluate(self)?, connections: connections.evaluate(self)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layers_count_to_the_closed_forms_of_every_network_and_size() {
        for architecture in [Architecture::PoolUpsample, Architecture::ConvTranspose, Architecture::Unet] {
            for kernel in NetworkConfig::KERNELS {
                for (in_channels, num_filters, num_colours) in [(1, 32, 24), (1, 1, 1), (3, 5, 7), (2, 64, 3), (1, 16, 100)] {
                    for (height, width, dilation) in [(32, 32, 1), (64, 64, 1), (4, 4, 2), (12, 20, 1), (32, 48, 3)] {
                        let config = NetworkConfig { architecture, kernel, dilation, num_filters, in_channels, num_colours, height, width };
                        let counted = config.accounting().unwrap();
                        let formed = config.closed_forms().unwrap();
                        let formed = (formed.weights.value, formed.outputs.value, formed.connections.value);
                        assert_eq!((counted.weights, counted.outputs, counted.connections), formed, "{config:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_formulas_have_the_numbers_of_the_pictures_size() {
        let config = NetworkConfig {
            architecture: Architecture::PoolUpsample,
            kernel: 3,
            dilation: 1,
            num_filters: 32,
            in_channels: 1,
            num_colours: 24,
            height: 32,
            width: 32,
        };
        let forms = config.closed_forms().unwrap();
        assert_eq!(forms.weights, ClosedForm { formula: "K²(NIC·NF + NF·NC + NC² + 4·NF²) + 12·NF + 4·NC".to_owned(), value: 49_728 });
        assert_eq!(forms.outputs.formula, "2880·NF + 3328·NC");
        assert_eq!(forms.connections.formula, "K²(1024·NIC·NF + 256·NF·NC + 1024·NC² + 640·NF²) + 2432·NF + 2048·NC");
        let unet = NetworkConfig { architecture: Architecture::Unet, ..config }.closed_forms().unwrap();
        assert_eq!(unet.weights.formula, "K²(NIC·NF + 2·NF·NC + NC² + 4·NF² + NIC·NC) + 12·NF + 4·NC");
        assert_eq!(unet.weights.value, 56_856);
    }

    #[test]
    fn a_value_beyond_64_bits_is_an_error() {
        let config = NetworkConfig {
            architecture: Architecture::Unet,
            kernel: 3,
            dilation: 1,
            num_filters: 1 << 32,
            in_channels: 1,
            num_colours: 2,
            height: 32,
            width: 32,
        };
        assert_eq!(config.closed_forms(), Err(NetworkError::Overflow));
    }
}
