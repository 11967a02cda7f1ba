//! The trained model's description: `model.json` beside `model.safetensors`.

use serde_json::{Value, json};
use trainyard_wire::spec::ColourizationSpec;
use trainyard_wire::spec::colourization::NetworkName;

use super::super::TrainError;
use super::position::Position;
use crate::data::Prepared;
use crate::networks::{NetworkConfig, NetworkKind};

/// Channels of the input: one grey value a pixel.
const IN_CHANNELS: usize = 1;

/// The network of a spec.
pub(super) fn config(spec: &ColourizationSpec) -> Result<NetworkConfig, TrainError> {
    let size = |value: u64| usize::try_from(value).map_err(|_| TrainError::Spec(format!("{value} is too large for a network")));
    Ok(NetworkConfig {
        kind: network_kind(spec.network.name),
        kernel: size(spec.network.kernel)?,
        num_filters: size(spec.network.num_filters)?,
        num_colours: size(spec.num_colours)?,
        in_channels: IN_CHANNELS,
        seed: spec.seed,
    })
}

/// The network that a spec or a description names.
pub(in crate::trainers) fn network_kind(name: NetworkName) -> NetworkKind {
    match name {
        NetworkName::PoolUpsample => NetworkKind::PoolUpsample,
        NetworkName::ConvTranspose => NetworkKind::ConvTranspose,
        NetworkName::Unet => NetworkKind::UNet,
    }
}

/// What someone needs who loads the weights: the network's sizes, the colours of the classes and where both come from.
pub(super) fn description(spec: &ColourizationSpec, prepared: &Prepared, end: &Position) -> Value {
    json!({
        "network": {
            "name": spec.network.name,
            "kernel": spec.network.kernel,
            "num_filters": spec.network.num_filters,
            "in_channels": IN_CHANNELS,
            "num_colours": spec.num_colours,
        },
        "num_colours": spec.num_colours,
        "palette": prepared.palette,
        "height": prepared.height,
        "width": prepared.width,
        "dataset": spec.dataset,
        "palette_seed": spec.palette_seed,
        "seed": spec.seed,
        "optimizer": spec.optimizer,
        "batch_size": spec.batch_size,
        "shuffle": spec.shuffle,
        "epochs": end.epoch,
        "steps": end.step,
        "val_loss": end.last.map(|last| last.loss),
        "val_accuracy": end.last.map(|last| last.accuracy),
        "best_epoch": end.best.map(|best| best.epoch),
    })
}
