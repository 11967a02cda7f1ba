//! `trainyard network`: the accounting and the receptive fields of a network, computed here without a server.

use std::process::ExitCode;

use trainyard_server::tools;
use trainyard_wire::spec::colourization::NetworkName;
use trainyard_wire::tools::{NetworkAnswer, NetworkQuestion};

use crate::context::Context;
use crate::terminal::table::Table;

#[derive(Debug, clap::Args)]
pub(crate) struct NetworkArgs {
    /// pool_upsample, conv_transpose or unet
    name: NetworkName,
    /// Kernel size, 1 to 7
    #[arg(long, default_value_t = 3)]
    kernel: u64,
    /// Dilation of every convolution, 1 to 32
    #[arg(long, default_value_t = 1)]
    dilation: u64,
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
}

impl NetworkArgs {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let question = NetworkQuestion {
            name: self.name,
            kernel: self.kernel,
            dilation: self.dilation,
            num_filters: self.num_filters,
            in_channels: self.in_channels,
            num_colours: self.num_colours,
            height: self.height,
            width: self.width,
        };
        let answer = tools::network(&question).map_err(|error| anyhow::anyhow!("there is no such network: {}", error.detail))?;
        context.answer(&answer, |answer| format!("{}\n{}", table(answer), closed_forms(answer)))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn table(answer: &NetworkAnswer) -> Table {
    let mut table = Table::new(&["LAYER", "KIND", "OUTPUT", "WEIGHTS", "OUTPUTS", "CONNECTIONS", "MACS", "BYTES", "FIELD"]);
    for layer in &answer.layers {
        let [channels, height, width] = layer.output;
        let [least, greatest] = layer.receptive_field;
        table.row([
            layer.name.clone(),
            layer.kind.clone(),
            format!("{channels}×{height}×{width}"),
            layer.weights.to_string(),
            layer.outputs.to_string(),
            layer.connections.to_string(),
            layer.multiply_accumulates.to_string(),
            layer.activation_bytes.to_string(),
            if least == greatest { least.to_string() } else { format!("{least} to {greatest}") },
        ]);
    }
    table.row([
        "all".to_owned(),
        String::new(),
        String::new(),
        answer.weights.to_string(),
        answer.outputs.to_string(),
        answer.connections.to_string(),
        answer.multiply_accumulates.to_string(),
        answer.activation_bytes.to_string(),
        String::new(),
    ]);
    table
}

fn closed_forms(answer: &NetworkAnswer) -> String {
    let forms = &answer.closed_forms;
    let named = [("weights", &forms.weights), ("outputs", &forms.outputs), ("connections", &forms.connections)];
    named.into_iter().map(|(name, form)| format!("{name} = {} = {}\n", form.formula, form.value)).collect()
}
