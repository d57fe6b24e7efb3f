use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

use crate::error::{ExportError, Result};
use crate::numeric::Real;
use crate::protobuf::Message;

/// The version of the operators, of 2021: every runtime since onnxruntime 1.12 reads it.
const OPSET: i64 = 17;

/// The version of the file's format that belongs to it.
const IR: i64 = 8;

/// The most bytes of constants: a file of Protocol Buffers must stay below 2 GiB.
const MOST_BYTES: usize = (1 << 31) - (1 << 24);

/// A number for each row of the batch and each column, or for each column alone: what a node of a [`Graph`] computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value {
    index: usize,
    /// Whether it has a row for each row of the batch; otherwise it has one row, which broadcasts.
    batched: bool,
}

/// The type of a graph's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// 32-bit floating point.
    F32,
    /// 64-bit floating point.
    F64,
    /// 64-bit integers, for classes and tokens.
    I64,
}

impl Element {
    fn of<F: Real>() -> Self {
        if size_of::<F>() == size_of::<f32>() { Element::F32 } else { Element::F64 }
    }

    /// `TensorProto.DataType`.
    fn code(self) -> i64 {
        match self {
            Element::F32 => 1,
            Element::I64 => 7,
            Element::F64 => 11,
        }
    }
}

/// An attribute of a node.
#[derive(Debug, Clone)]
pub enum Attribute {
    /// An integer.
    Int(i64),
    /// Several integers.
    Ints(Vec<i64>),
    /// A floating-point number.
    Float(f32),
}

impl Attribute {
    /// `AttributeProto`.
    fn message(&self, name: &str) -> Message {
        let message = Message::default().text(1, name);
        match self {
            Attribute::Float(value) => message.float(2, *value).int(20, 1),
            Attribute::Int(value) => message.int(3, *value).int(20, 2),
            Attribute::Ints(values) => {
                values.iter().fold(message, |message, value| message.int(8, *value)).int(20, 7)
            }
        }
    }
}

/// An input: its name, its type, and its sizes behind the batch.
#[derive(Debug, Clone)]
struct Input {
    name: &'static str,
    element: Element,
    sizes: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq)]
struct Constant {
    element: Element,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Node {
    op: &'static str,
    inputs: Vec<usize>,
    attributes: Vec<(&'static str, Attribute)>,
}

#[derive(Debug, Clone)]
enum Source {
    Input(Input),
    Constant(Constant),
    Node(Node),
}

/// A computation as ONNX has it: nodes with operators, each of which takes values and makes one.
///
/// A network describes itself by adding its nodes to a graph ([`Network::trace`](crate::nn::Network::trace),
/// [`VectorField::trace`](crate::nn::VectorField::trace)). Equal constants are stored once, so a network that runs in
/// each of many steps has its weights in the file once. Nodes on which no output depends are left out of the file.
///
/// ```
/// use quadrivium::onnx::{Element, Graph};
///
/// let mut graph = Graph::default();
/// let x = graph.input("x", Element::F32, &[2]);
/// let weights = graph.constant(&[2, 1], &[1.0f32, -1.0]);
/// let y = graph.matmul(x, weights);
/// graph.output("y", y, 1);
/// assert_eq!(graph.inputs().collect::<Vec<_>>(), [("x", Element::F32, &[2][..])]);
/// assert!(graph.to_bytes()?.len() < 300);
/// # Ok::<(), quadrivium::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Graph {
    sources: Vec<Source>,
    /// The constants with each digest.
    known: HashMap<u64, Vec<usize>>,
    /// The name, the value and the number of columns of each output.
    outputs: Vec<(&'static str, Value, usize)>,
    notes: Vec<(String, String)>,
}

impl Graph {
    fn push(&mut self, source: Source, batched: bool) -> Value {
        self.sources.push(source);
        Value { index: self.sources.len() - 1, batched }
    }

    /// An input of n rows, of these sizes behind them.
    pub fn input(&mut self, name: &'static str, element: Element, sizes: &[usize]) -> Value {
        self.push(Source::Input(Input { name, element, sizes: sizes.to_vec() }), true)
    }

    /// The inputs in the order in which they were added: name, type and sizes behind the batch.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, Element, &[usize])> {
        self.sources.iter().filter_map(|source| match source {
            Source::Input(Input { name, element, sizes }) => Some((*name, *element, &sizes[..])),
            _ => None,
        })
    }

    /// Makes a value of n rows of `columns` numbers, in 32 bits, an output.
    pub fn output(&mut self, name: &'static str, value: Value, columns: usize) {
        self.outputs.push((name, value, columns));
    }

    /// An entry of the file's metadata.
    pub fn note(&mut self, key: &str, text: &str) {
        self.notes.push((key.into(), text.into()));
    }

    /// Numbers of the given shape, row-major.
    pub fn constant<F: Real>(&mut self, shape: &[usize], numbers: &[F]) -> Value {
        let element = Element::of::<F>();
        let bytes = match element {
            Element::F32 => numbers.iter().flat_map(|v| (v.f64() as f32).to_le_bytes()).collect(),
            _ => numbers.iter().flat_map(|v| v.f64().to_le_bytes()).collect(),
        };
        self.stored(Constant { element, shape: shape.to_vec(), bytes })
    }

    /// One number for all rows and columns.
    pub fn scalar<F: Real>(&mut self, number: F) -> Value {
        self.constant(&[], &[number])
    }

    /// Integers of the given shape, for the operators that take sizes or indices.
    pub fn integers(&mut self, shape: &[usize], numbers: &[i64]) -> Value {
        let bytes = numbers.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.stored(Constant { element: Element::I64, shape: shape.to_vec(), bytes })
    }

    fn stored(&mut self, constant: Constant) -> Value {
        let mut hasher = DefaultHasher::new();
        (&constant.shape, &constant.bytes).hash(&mut hasher);
        let digest = hasher.finish();
        let same =
            |&index: &usize| matches!(&self.sources[index], Source::Constant(known) if *known == constant);
        if let Some(&index) = self.known.get(&digest).and_then(|known| known.iter().find(|at| same(at))) {
            return Value { index, batched: false };
        }
        let value = self.push(Source::Constant(constant), false);
        self.known.entry(digest).or_default().push(value.index);
        value
    }

    /// The first output of an [operator](https://onnx.ai/onnx/operators/) of version 17.
    pub fn node(
        &mut self,
        op: &'static str,
        inputs: &[Value],
        attributes: &[(&'static str, Attribute)],
    ) -> Value {
        let batched = inputs.iter().any(|input| input.batched);
        let inputs = inputs.iter().map(|input| input.index).collect();
        self.push(Source::Node(Node { op, inputs, attributes: attributes.to_vec() }), batched)
    }

    /// An operator without attributes.
    pub fn apply(&mut self, op: &'static str, inputs: &[Value]) -> Value {
        self.node(op, inputs, &[])
    }

    /// a + b.
    pub fn add(&mut self, a: Value, b: Value) -> Value {
        self.apply("Add", &[a, b])
    }

    /// a − b.
    pub fn sub(&mut self, a: Value, b: Value) -> Value {
        self.apply("Sub", &[a, b])
    }

    /// a ⊙ b.
    pub fn mul(&mut self, a: Value, b: Value) -> Value {
        self.apply("Mul", &[a, b])
    }

    /// a / b, elementwise.
    pub fn div(&mut self, a: Value, b: Value) -> Value {
        self.apply("Div", &[a, b])
    }

    /// a·b, the product of matrices.
    pub fn matmul(&mut self, a: Value, b: Value) -> Value {
        self.apply("MatMul", &[a, b])
    }

    /// factor·a.
    pub fn scaled<F: Real>(&mut self, factor: F, a: Value) -> Value {
        let factor = self.scalar(factor);
        self.mul(factor, a)
    }

    /// a + b with a number b for all rows and columns.
    pub fn shifted<F: Real>(&mut self, a: Value, by: F) -> Value {
        let by = self.scalar(by);
        self.add(a, by)
    }

    /// The nearest number in a range.
    pub fn clip<F: Real>(&mut self, a: Value, low: F, high: F) -> Value {
        let (low, high) = (self.scalar(low), self.scalar(high));
        self.apply("Clip", &[a, low, high])
    }

    /// The same numbers in another type.
    pub fn cast(&mut self, a: Value, to: Element) -> Value {
        self.node("Cast", &[a], &[("to", Attribute::Int(to.code()))])
    }

    /// Some of the columns.
    pub fn columns(&mut self, a: Value, columns: Range<usize>) -> Value {
        self.slice(a, 1, columns)
    }

    /// A part along an axis.
    pub fn slice(&mut self, a: Value, axis: i64, part: Range<usize>) -> Value {
        let ends = [part.start, part.end].map(|end| self.integers(&[1], &[end as i64]));
        let axis = self.integers(&[1], &[axis]);
        self.apply("Slice", &[a, ends[0], ends[1], axis])
    }

    /// Values side by side. One with a single row is repeated where others have one for each row of the batch.
    pub fn concat(&mut self, parts: &[Value]) -> Value {
        let parts: Vec<Value> = match parts.iter().find(|part| part.batched) {
            Some(&like) => parts.iter().map(|&part| self.repeated(part, like)).collect(),
            None => parts.to_vec(),
        };
        match parts[..] {
            [part] => part,
            _ => self.node("Concat", &parts, &[("axis", Attribute::Int(1))]),
        }
    }

    /// A value with as many rows as another.
    pub fn repeated(&mut self, a: Value, like: Value) -> Value {
        if a.batched {
            return a;
        }
        let rows = self.node("Shape", &[like], &[("start", Attribute::Int(0)), ("end", Attribute::Int(1))]);
        let one = self.integers(&[1], &[1]);
        let shape = self.node("Concat", &[rows, one], &[("axis", Attribute::Int(0))]);
        let repeated = self.apply("Expand", &[a, shape]);
        Value { batched: true, ..repeated }
    }

    /// ω₁a, ω₂a, … of each row: (n, frequencies, columns).
    pub fn octaves<F: Real>(&mut self, a: Value, frequencies: &[F]) -> Value {
        let axis = self.integers(&[1], &[1]);
        let a = self.apply("Unsqueeze", &[a, axis]);
        let frequencies = self.constant(&[frequencies.len(), 1], frequencies);
        self.mul(a, frequencies)
    }

    /// All numbers behind the batch side by side, `columns` of them.
    pub fn flat(&mut self, a: Value, columns: usize) -> Value {
        let shape = self.integers(&[2], &[0, columns as i64]);
        self.apply("Reshape", &[a, shape])
    }

    /// One number of each row by an operator that takes its axes as an attribute: `ReduceMean`, `ReduceProd`, `ReduceMax`.
    pub fn reduced(&mut self, op: &'static str, a: Value) -> Value {
        let attributes = [("axes", Attribute::Ints(vec![1])), ("keepdims", Attribute::Int(1))];
        self.node(op, &[a], &attributes)
    }

    /// The bytes of the ONNX file.
    ///
    /// # Errors
    /// [`ExportError::TooLarge`].
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let needed = self.needed();
        let sources = || self.sources.iter().enumerate().filter(|(index, _)| needed[*index]);
        let bytes = sources().map(|(_, source)| match source {
            Source::Constant(constant) => constant.bytes.len(),
            _ => 0,
        });
        let bytes = bytes.sum();
        if bytes > MOST_BYTES {
            return Err(ExportError::TooLarge { bytes }.into());
        }

        let mut graph = Message::default();
        for (index, source) in sources() {
            if let Source::Node(Node { op, inputs, attributes }) = source {
                let node = inputs.iter().fold(Message::default(), |node, at| node.text(1, &self.name(*at)));
                let name = self.name(index);
                let node = node.text(2, &name).text(3, &name).text(4, op);
                let node = attributes
                    .iter()
                    .fold(node, |node, (name, attribute)| node.message(5, attribute.message(name)));
                graph = graph.message(1, node);
            }
        }
        for (name, value, _) in &self.outputs {
            let node = Message::default().text(1, &self.name(value.index)).text(2, name).text(3, name);
            graph = graph.message(1, node.text(4, "Identity"));
        }
        graph = graph.text(2, "quadrivium");
        for (index, source) in sources() {
            if let Source::Constant(Constant { element, shape, bytes }) = source {
                let tensor =
                    shape.iter().fold(Message::default(), |tensor, size| tensor.int(1, *size as i64));
                let tensor = tensor.int(2, element.code()).text(8, &self.name(index)).bytes(9, bytes);
                graph = graph.message(5, tensor);
            }
        }
        for (name, element, sizes) in self.inputs() {
            graph = graph.message(11, described(name, element, sizes));
        }
        for (name, _, columns) in &self.outputs {
            graph = graph.message(12, described(name, Element::F32, &[*columns]));
        }

        let model = Message::default()
            .int(1, IR)
            .text(2, "quadrivium")
            .text(3, env!("CARGO_PKG_VERSION"))
            .message(7, graph)
            .message(8, Message::default().text(1, "").int(2, OPSET));
        let note = |(key, text): &(String, String)| Message::default().text(1, key).text(2, text);
        let model = self.notes.iter().fold(model, |model, entry| model.message(14, note(entry)));
        Ok(model.into_bytes())
    }

    /// Which sources an output depends on.
    fn needed(&self) -> Vec<bool> {
        let mut needed = vec![false; self.sources.len()];
        self.outputs.iter().for_each(|(_, value, _)| needed[value.index] = true);
        // A node comes after what it takes.
        for (index, source) in self.sources.iter().enumerate().rev() {
            if let Source::Node(node) = source
                && needed[index]
            {
                node.inputs.iter().for_each(|&input| needed[input] = true);
            }
        }
        needed
    }

    /// The name of a value in the file.
    fn name(&self, index: usize) -> String {
        match &self.sources[index] {
            Source::Input(input) => input.name.into(),
            Source::Constant(_) => format!("constant_{index}"),
            Source::Node(node) => format!("{}_{index}", node.op),
        }
    }
}

/// `ValueInfoProto` of n rows.
fn described(name: &str, element: Element, sizes: &[usize]) -> Message {
    let batch = Message::default().text(2, "rows");
    let shape = sizes.iter().fold(Message::default().message(1, batch), |shape, size| {
        shape.message(1, Message::default().int(1, *size as i64))
    });
    let tensor = Message::default().int(1, element.code()).message(2, shape);
    Message::default().text(1, name).message(2, Message::default().message(1, tensor))
}
