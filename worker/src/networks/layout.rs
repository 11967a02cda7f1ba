//! Where each named tensor lies in a flat vector.
//!
//! A network's parameters are one flat f32 vector; so are its running statistics. A [`ParameterLayout`] lists the
//! pieces of such a vector in layer order under PyTorch's state-dict names, without gaps.

/// One named piece of a flat vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// State-dict name, such as `layer1.0.weight`.
    pub name: String,
    /// Shape, row-major.
    pub shape: Vec<usize>,
    /// Index of the first element.
    pub offset: usize,
}

impl Entry {
    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The indices it takes in the flat vector.
    #[must_use]
    pub fn range(&self) -> std::ops::Range<usize> {
        self.offset..self.offset + self.len()
    }
}

/// The named pieces of one flat vector, in order and without gaps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParameterLayout {
    entries: Vec<Entry>,
    len: usize,
}

impl ParameterLayout {
    /// Appends a piece and returns it.
    pub fn push(&mut self, name: impl Into<String>, shape: &[usize]) -> Entry {
        let entry = Entry { name: name.into(), shape: shape.to_vec(), offset: self.len };
        self.len += entry.len();
        self.entries.push(entry.clone());
        entry
    }

    /// The pieces in order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Length of the flat vector.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The piece of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }
}

/// The layouts of a network's two flat vectors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkLayout {
    /// Trained parameters.
    pub parameters: ParameterLayout,
    /// Running mean and variance of each batch norm.
    pub buffers: ParameterLayout,
    /// State-dict names of the batch counters, one per batch norm.
    pub counters: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_follow_each_other_without_gaps() {
        let mut layout = ParameterLayout::default();
        layout.push("a", &[2, 3]);
        layout.push("b", &[4]);
        assert_eq!(layout.get("b").map(Entry::range), Some(6..10));
        assert_eq!(layout.len(), 10);
        assert_eq!(layout.get("c"), None);
    }
}
