//! Receptive fields by structural gradients, against those that theory finds by taking indices back through the layers.
//!
//! An output depends on the inputs at which its gradient is not zero, whatever the weights: here all weights are positive, batch norm is in
//! evaluation mode with positive scales, and pooling takes the average, so that nothing cancels and no gradient is hidden. The networks
//! are written once more, module by module as in `reference_cases/pytorch_nets.py`, on candle's own operations, and candle's own
//! backward goes through them: neither our kernels nor theory's graph of layers take part. The networks that are trained are
//! checked too, at their last layer, where a forward pass shows which rows of the input reach an output.

#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor, Var};
use trainyard_theory::network::{Architecture, NetworkConfig};
use trainyard_theory::receptive_field::{Interval, interval, receptive_fields};
use trainyard_theory::{network::Source, receptive_field::ReceptiveField};
use trainyard_worker::networks::{self, ColourizationNetwork as _, NetworkKind, ReadableNetwork};

const ARCHITECTURES: [Architecture; 3] = [Architecture::PoolUpsample, Architecture::ConvTranspose, Architecture::Unet];

/// One network on candle's operations, with one channel wherever the network has many. Remembers what every module gave.
struct Structure {
    kernel: usize,
    dilation: usize,
    modules: Vec<(String, Tensor)>,
}

impl Structure {
    fn gave(&mut self, name: String, y: Tensor) -> Tensor {
        self.modules.push((name, y.clone()));
        y
    }

    /// Weights between 0.5 and 1, no two alike.
    fn weights(&self, channels: [usize; 2]) -> Tensor {
        let count = channels[0] * channels[1] * self.kernel * self.kernel;
        let values: Vec<f64> = (0..count).map(|i| 0.5 + 0.5 * (i as f64 + 1.0) / (count as f64 + 1.0)).collect();
        Tensor::from_vec(values, (channels[0], channels[1], self.kernel, self.kernel), &Device::Cpu).unwrap()
    }

    fn extent(&self) -> usize {
        (self.kernel - 1) * self.dilation + 1
    }

    /// `padding="same"`.
    fn same(&mut self, name: &str, x: &Tensor) -> Tensor {
        let (before, after) = ((self.extent() - 1) / 2, self.extent() / 2);
        let padded = x.pad_with_zeros(2, before, after).unwrap().pad_with_zeros(3, before, after).unwrap();
        let y = padded.conv2d(&self.weights([1, x.dim(1).unwrap()]), 0, 1, self.dilation, 1).unwrap();
        self.gave(name.to_owned(), y)
    }

    fn halved(&mut self, block: &str, x: &Tensor) -> Tensor {
        let y = x.conv2d(&self.weights([1, x.dim(1).unwrap()]), (self.extent() - 1) / 2, 2, self.dilation, 1).unwrap();
        let y = self.gave(format!("{block}.0"), y);
        self.normalized(block, 1, &y)
    }

    fn doubled(&mut self, block: &str, x: &Tensor) -> Tensor {
        let weights = self.weights([x.dim(1).unwrap(), 1]);
        let y = x.conv_transpose2d(&weights, (self.extent() - 1) / 2, self.extent() % 2, 2, self.dilation).unwrap();
        let y = self.gave(format!("{block}.0"), y);
        self.normalized(block, 1, &y)
    }

    fn pooled(&mut self, block: &str, x: &Tensor) -> Tensor {
        let y = self.same(&format!("{block}.0"), x).avg_pool2d(2).unwrap();
        let y = self.gave(format!("{block}.1"), y);
        self.normalized(block, 2, &y)
    }

    fn upsampled(&mut self, block: &str, x: &Tensor) -> Tensor {
        let y = self.same(&format!("{block}.0"), x);
        let (height, width) = (y.dim(2).unwrap(), y.dim(3).unwrap());
        let y = self.gave(format!("{block}.1"), y.upsample_nearest2d(2 * height, 2 * width).unwrap());
        self.normalized(block, 2, &y)
    }

    /// Batch norm in evaluation, and ReLU.
    fn normalized(&mut self, block: &str, index: usize, x: &Tensor) -> Tensor {
        let y = self.gave(format!("{block}.{index}"), x.affine(0.9, 0.1).unwrap());
        self.gave(format!("{block}.{}", index + 1), y.relu().unwrap())
    }

    fn cat(&mut self, name: &str, one: &Tensor, other: &Tensor) -> Tensor {
        self.gave(name.to_owned(), Tensor::cat(&[one, other], 1).unwrap())
    }

    /// The network on `x`; what every module gave, in the order of the forward pass.
    fn of(architecture: Architecture, kernel: usize, dilation: usize, x: &Tensor) -> Vec<(String, Tensor)> {
        let mut net = Self { kernel, dilation, modules: Vec::new() };
        match architecture {
            Architecture::PoolUpsample => {
                let y = net.pooled("layer1", x);
                let y = net.pooled("layer2", &y);
                let y = net.upsampled("layer3", &y);
                let y = net.upsampled("layer4", &y);
                net.same("layerFinal", &y);
            }
            Architecture::ConvTranspose => {
                let y = net.halved("layer1", x);
                let y = net.halved("layer2", &y);
                let y = net.doubled("layer3", &y);
                let y = net.doubled("layer4", &y);
                net.same("layerFinal", &y);
            }
            Architecture::Unet => {
                let first = net.halved("layer1", x);
                let y = net.halved("layer2", &first);
                let y = net.doubled("layer3", &y);
                let y = net.cat("layer4.cat", &y, &first);
                let y = net.doubled("layer4", &y);
                let y = net.cat("layer5.cat", &y, x);
                net.same("layer5", &y);
            }
        }
        net.modules
    }
}

/// The rows and the columns, from the first to the last, at which the gradient of one output of `y` is not zero, and how many inputs there are.
fn structural_gradient(x: &Var, y: &Tensor, row: usize, column: usize) -> Option<(Interval, Interval, usize)> {
    let output = y.narrow(2, row, 1).unwrap().narrow(3, column, 1).unwrap().sum_all().unwrap();
    let gradients = output.backward().unwrap();
    let gradient = gradients.get(x)?.squeeze(0).unwrap().squeeze(0).unwrap().to_vec2::<f64>().unwrap();
    let reached = |(row, values): (usize, &Vec<f64>)| {
        let at = move |(column, value): (usize, &f64)| (*value != 0.0).then_some((row as i64, column as i64));
        values.iter().enumerate().filter_map(at).collect::<Vec<_>>()
    };
    let reached: Vec<(i64, i64)> = gradient.iter().enumerate().flat_map(reached).collect();
    let span = |indices: Vec<i64>| Some(Interval { first: *indices.iter().min()?, last: *indices.iter().max()? });
    let rows = span(reached.iter().map(|(row, _)| *row).collect())?;
    let columns = span(reached.iter().map(|(_, column)| *column).collect())?;
    Some((rows, columns, reached.len()))
}

fn config(architecture: Architecture, kernel: usize, dilation: usize, side: usize) -> NetworkConfig {
    let (kernel, dilation, side) = (kernel as u64, dilation as u64, side as u64);
    NetworkConfig { architecture, kernel, dilation, num_filters: 1, in_channels: 1, num_colours: 1, height: side, width: side }
}

/// Finds the fields of all layers by gradients on an input of `side` × `side`, compares each with theory's, and returns them.
fn compared(architecture: Architecture, kernel: usize, dilation: usize, side: usize) -> Vec<ReceptiveField> {
    let x = Var::ones((1, 1, side, side), DType::F64, &Device::Cpu).unwrap();
    let config = config(architecture, kernel, dilation, side);
    let graph = config.graph().unwrap();
    let modules = Structure::of(architecture, kernel, dilation, x.as_tensor());
    assert!(graph.layers.iter().map(|layer| &layer.name).eq(modules.iter().map(|(name, _)| name)));
    let mut found = Vec::new();
    for (index, (name, y)) in modules.iter().enumerate() {
        let what = format!("{architecture:?} K={kernel} dilation {dilation} {name}");
        let made = graph.layers[index].output;
        assert_eq!(&y.dims()[2..], [made.height as usize, made.width as usize], "{what}");
        let middle = y.dim(2).unwrap() / 2;
        let mut sizes = Vec::new();
        // Also each phase of the rows with another one of the columns; not where a dilation leaves gaps, which a skip connection closes on the
        // diagonal only.
        let columns = |row| if dilation == 1 { vec![row, (row + 1) % 4] } else { vec![row] };
        for (row, column) in (0..4).flat_map(|row| columns(row).into_iter().map(move |column| (row, column))) {
            let (row, column) = (middle + row, middle + column);
            let expected = [row, column].map(|output| interval(&graph, Source::Layer(index), output as i64));
            let field = structural_gradient(&x, y, row, column);
            let both = expected[0].zip(expected[1]);
            assert_eq!(field.map(|(rows, columns, _)| (rows, columns)), both, "{what} at {row}, {column}");
            if let Some((rows, columns, count)) = field {
                assert!(rows.first > 0 && columns.first > 0 && rows.last < side as i64 - 1 && columns.last < side as i64 - 1, "{what}");
                assert!(dilation > 1 || count as u64 == rows.size() * columns.size(), "{what} has holes");
            }
            if row == column {
                sizes.push(field.map_or(0, |(rows, ..)| rows.size()));
            }
        }
        let (least, greatest) = (*sizes.iter().min().unwrap(), *sizes.iter().max().unwrap());
        found.push(ReceptiveField { layer: name.clone(), least, greatest });
    }
    assert_eq!(found, receptive_fields(&config).unwrap());
    found
}

#[test]
fn structural_gradients_and_propagated_indices_find_the_same_fields_in_every_layer() {
    let field = |fields: &[ReceptiveField], layer: &str| {
        let field = fields.iter().find(|field| field.layer == layer).unwrap();
        (field.least, field.greatest)
    };
    for architecture in ARCHITECTURES {
        for kernel in 3..=5 {
            let fields = compared(architecture, kernel, 1, 64);
            let last = fields.last().unwrap();
            println!("{architecture:?} K={kernel}: {} layers, the last {} to {}", fields.len(), last.least, last.greatest);
            match (architecture, kernel) {
                (Architecture::PoolUpsample, 3) => assert_eq!(field(&fields, "layerFinal"), (22, 26)),
                (Architecture::ConvTranspose, 3) => assert_eq!(field(&fields, "layer4.2"), (7, 11)),
                (Architecture::ConvTranspose, 4) => assert_eq!(field(&fields, "layer3.2"), (14, 14)),
                _ => {}
            }
        }
    }
}

#[test]
fn they_find_the_same_fields_with_a_dilation() {
    for architecture in ARCHITECTURES {
        for (kernel, dilation) in [(3, 2), (3, 3), (4, 2)] {
            compared(architecture, kernel, dilation, 128);
        }
    }
}

/// Which rows of a 64×64 input reach the row `output` of the network's logits: with positive weights, no biases and no input but
/// one row, everything that is not zero was reached. Maximum pooling hides nothing here, as all values are positive or zero.
fn reaching_rows(kind: NetworkKind, kernel: usize) -> Vec<Vec<usize>> {
    const SIDE: usize = 64;
    let config = networks::NetworkConfig { kind, kernel, num_filters: 2, num_colours: 2, in_channels: 1, seed: 1 };
    let mut network = ReadableNetwork::new(&config, &Device::Cpu).unwrap();
    let mut weights = network.parameters().to_vec1::<f32>().unwrap();
    for entry in network.layout().parameters.entries() {
        let bias = entry.name.ends_with(".bias");
        weights[entry.range()].iter_mut().for_each(|weight| *weight = if bias { 0.0 } else { weight.abs().max(0.01) });
    }
    network.load_parameters(&weights).unwrap();
    // Image r has ones in row r.
    let images: Vec<f32> = (0..SIDE * SIDE * SIDE).map(|i| f32::from(i / SIDE % SIDE == i / (SIDE * SIDE))).collect();
    let logits = network.logits(&Tensor::from_vec(images, (SIDE, 1, SIDE, SIDE), &Device::Cpu).unwrap()).unwrap();
    let column = logits.narrow(1, 0, 1).unwrap().narrow(3, SIDE / 2, 1).unwrap().reshape((SIDE, SIDE)).unwrap();
    let reached = column.to_vec2::<f32>().unwrap();
    let rows = |output: usize| (0..SIDE).filter(|row| reached[*row][output] != 0.0).collect();
    (SIDE / 2..SIDE / 2 + 4).map(rows).collect()
}

#[test]
fn the_networks_that_are_trained_see_what_theory_says() {
    for (kind, architecture) in [
        (NetworkKind::PoolUpsample, Architecture::PoolUpsample),
        (NetworkKind::ConvTranspose, Architecture::ConvTranspose),
        (NetworkKind::UNet, Architecture::Unet),
    ] {
        for kernel in 3..=5 {
            let graph = config(architecture, kernel, 1, 64).graph().unwrap();
            let last = Source::Layer(graph.layers.len() - 1);
            for (output, rows) in (32..).zip(reaching_rows(kind, kernel)) {
                let expected = interval(&graph, last, output).unwrap();
                assert!(
                    rows.iter().map(|row| *row as i64).eq(expected.first..=expected.last),
                    "{kind:?} K={kernel} row {output}: {rows:?}"
                );
            }
        }
    }
}
