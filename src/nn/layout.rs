use std::ops::Range;

/// One named part of a flat parameter slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Its name, for example `2.weight`.
    pub name: String,
    /// Its shape, row-major.
    pub shape: Vec<usize>,
    /// Its range in the slice.
    pub range: Range<usize>,
}

/// The table of a flat parameter slice: name → shape → range, in order and without gaps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    tensors: Vec<Tensor>,
}

impl Layout {
    /// Appends a tensor.
    pub fn push(&mut self, name: String, shape: &[usize]) {
        let start = self.num_params();
        let range = start..start + shape.iter().product::<usize>();
        self.tensors.push(Tensor { name, shape: shape.to_vec(), range });
    }

    /// The tensors, in the order of the slice.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The tensor with this name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|t| t.name == name)
    }

    /// Length of the slice.
    pub fn num_params(&self) -> usize {
        self.tensors.last().map_or(0, |t| t.range.end)
    }
}
