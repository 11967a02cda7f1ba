//! A trained model, from the files of its run.

use candle_core::Device;
use serde::Deserialize;
use trainyard_wire::spec::colourization::NetworkName;

use super::super::TrainError;
use super::super::colourization::network_kind;
use crate::data::Palette;
use crate::networks::{self, ColourizationNetwork, NetworkConfig, state_dict};

/// Most filters that a run may have trained.
const MOST_FILTERS: usize = 1024;

/// What is read of `model.json`.
#[derive(Debug, Deserialize)]
struct Description {
    network: Network,
    palette: Palette,
}

#[derive(Debug, Deserialize)]
struct Network {
    name: NetworkName,
    kernel: usize,
    num_filters: usize,
    in_channels: usize,
    num_colours: usize,
}

/// A network with its weights, and the colours of its classes.
pub(super) struct Model {
    pub(super) network: Box<dyn ColourizationNetwork>,
    pub(super) palette: Palette,
}

impl Model {
    /// Reads both files of a model.
    ///
    /// # Errors
    /// Where they are no description of a network of ours, or not its weights.
    pub(super) fn load(description: &[u8], weights: &[u8], device: &Device) -> Result<Self, TrainError> {
        let unusable = |reason: String| TrainError::Spec(format!("the model cannot be used: {reason}"));
        let Description { network, palette } =
            serde_json::from_slice(description).map_err(|error| unusable(format!("its description is not one: {error}")))?;
        let Network { name, kernel, num_filters, in_channels, num_colours } = network;
        if in_channels != 1 {
            return Err(unusable(format!("it looks at {in_channels} channels, and a grey picture has one")));
        }
        if num_filters > MOST_FILTERS || palette.colours.len() != num_colours || num_colours > 256 {
            return Err(unusable(format!("{num_filters} filters and {num_colours} of {} colours", palette.colours.len())));
        }
        // The seed is that of initial weights, which are replaced.
        let config = NetworkConfig { kind: network_kind(name), kernel, num_filters, num_colours, in_channels, seed: 0 };
        let mut network = networks::build(&config, device)?;
        state_dict::load_safetensors(network.as_mut(), weights)?;
        Ok(Self { network, palette })
    }
}
