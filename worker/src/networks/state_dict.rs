//! `model.safetensors`: a network's state dict under PyTorch's names.
//!
//! The file holds every parameter and running statistic as F32 and every `num_batches_tracked` as an I64 scalar, so
//! `load_state_dict(strict=True)` takes it. Equal states give equal bytes.

use std::collections::BTreeSet;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::layout::{Entry, ParameterLayout};
use super::{Buffers, ColourizationNetwork, NetworkError, Result};

/// The network's state dict as safetensors bytes.
///
/// # Errors
/// Where the parameters cannot be read from their device.
pub fn to_safetensors(network: &dyn ColourizationNetwork) -> Result<Vec<u8>> {
    let layout = network.layout();
    let buffers = network.buffers();
    let parameters = bytes(&network.parameters().to_vec1::<f32>()?);
    let running = bytes(&buffers.running);
    let count = buffers.num_batches_tracked.to_le_bytes();
    let mut tensors = Vec::new();
    for (layout, bytes) in [(&layout.parameters, &parameters), (&layout.buffers, &running)] {
        for entry in layout.entries() {
            let range = entry.range();
            let data = &bytes[4 * range.start..4 * range.end];
            tensors.push((entry.name.as_str(), TensorView::new(Dtype::F32, entry.shape.clone(), data)?));
        }
    }
    for name in &layout.counters {
        tensors.push((name.as_str(), TensorView::new(Dtype::I64, Vec::new(), &count)?));
    }
    Ok(safetensors::serialize(tensors, None)?)
}

/// Sets the network's state from safetensors bytes, strictly: every name must be there, and no other.
///
/// # Errors
/// [`NetworkError::State`] where names, shapes or types do not fit, [`NetworkError::SafeTensors`] where the bytes are
/// not such a file; nothing is changed then.
pub fn load_safetensors(network: &mut dyn ColourizationNetwork, bytes: &[u8]) -> Result<()> {
    let file = SafeTensors::deserialize(bytes)?;
    let layout = network.layout();
    let known = layout.parameters.entries().iter().chain(layout.buffers.entries()).map(|entry| &entry.name);
    let known: BTreeSet<&str> = known.chain(&layout.counters).map(String::as_str).collect();
    if let Some(name) = file.names().into_iter().filter(|name| !known.contains(name)).min() {
        return Err(NetworkError::State(format!("the file has `{name}`, the network does not")));
    }
    let parameters = read(&file, &layout.parameters)?;
    let running = read(&file, &layout.buffers)?;
    let mut counts = BTreeSet::new();
    for name in &layout.counters {
        let data = tensor(&file, name, Dtype::I64, &[])?;
        let count = data.as_array::<8>().map(|count| i64::from_le_bytes(*count));
        counts.insert(count.unwrap_or_default());
    }
    let [count] = counts.into_iter().collect::<Vec<_>>()[..] else {
        return Err(NetworkError::State("the batch norms have tracked different numbers of batches".into()));
    };
    let num_batches_tracked =
        u64::try_from(count).map_err(|_| NetworkError::State(format!("{count} batches tracked are less than none")))?;
    network.load_parameters(&parameters)?;
    network.load_buffers(&Buffers { running, num_batches_tracked })
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn read(file: &SafeTensors<'_>, layout: &ParameterLayout) -> Result<Vec<f32>> {
    let mut values = Vec::with_capacity(layout.len());
    for Entry { name, shape, .. } in layout.entries() {
        let (words, _) = tensor(file, name, Dtype::F32, shape)?.as_chunks::<4>();
        values.extend(words.iter().map(|word| f32::from_le_bytes(*word)));
    }
    Ok(values)
}

fn tensor<'a>(file: &SafeTensors<'a>, name: &str, dtype: Dtype, shape: &[usize]) -> Result<&'a [u8]> {
    let view = file.tensor(name).map_err(|_| NetworkError::State(format!("the file has no `{name}`")))?;
    if view.dtype() != dtype || view.shape() != shape {
        return Err(NetworkError::State(format!(
            "`{name}` is {:?} {:?} in the file, {dtype:?} {shape:?} in the network",
            view.dtype(),
            view.shape()
        )));
    }
    Ok(view.data())
}
