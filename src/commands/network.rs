//! `trainyard network`: the accounting of a network, computed here without a server.

use std::process::ExitCode;

use anyhow::Context as _;
use trainyard_theory::network::{Accounting, Architecture, NetworkConfig};
use trainyard_wire::spec::colourization::NetworkName;

use crate::terminal::table::Table;
use crate::terminal::{print, print_json};

#[derive(Debug, clap::Args)]
pub(crate) struct NetworkArgs {
    /// pool_upsample, conv_transpose or unet
    name: NetworkName,
    /// Kernel size, 1 to 7
    #[arg(long, default_value_t = 3)]
    kernel: u64,
    /// Filters of the first layer
    #[arg(long, default_value_t = 32)]
    num_filters: u64,
    /// Channels of the input
    #[arg(long, default_value_t = 1)]
    in_channels: u64,
    /// Palette colours
    #[arg(long, default_value_t = 24)]
    num_colours: u64,
    /// Height of the pictures in pixels, a multiple of 4
    #[arg(long, default_value_t = 32)]
    height: u64,
    /// Width of the pictures in pixels, a multiple of 4
    #[arg(long, default_value_t = 32)]
    width: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl NetworkArgs {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let architecture = match self.name {
            NetworkName::PoolUpsample => Architecture::PoolUpsample,
            NetworkName::ConvTranspose => Architecture::ConvTranspose,
            NetworkName::Unet => Architecture::Unet,
        };
        let config = NetworkConfig {
            architecture,
            kernel: self.kernel,
            num_filters: self.num_filters,
            in_channels: self.in_channels,
            num_colours: self.num_colours,
            height: self.height,
            width: self.width,
        };
        let accounting = config.accounting().context("there is no such network")?;
        if self.json {
            print_json(&accounting)?;
        } else {
            print(&table(&accounting).to_string())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn table(accounting: &Accounting) -> Table {
    let mut table = Table::new(&["LAYER", "KIND", "OUTPUT", "WEIGHTS", "OUTPUTS", "CONNECTIONS"]);
    for layer in &accounting.layers {
        let shape = &layer.output;
        table.row([
            layer.name.clone(),
            layer.kind.clone(),
            format!("{}×{}×{}", shape.channels, shape.height, shape.width),
            layer.weights.to_string(),
            layer.outputs.to_string(),
            layer.connections.to_string(),
        ]);
    }
    table.row([
        "all".to_owned(),
        String::new(),
        String::new(),
        accounting.weights.to_string(),
        accounting.outputs.to_string(),
        accounting.connections.to_string(),
    ]);
    table
}
