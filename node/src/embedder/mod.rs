//! The embedding models that a node can bring.

mod builtin;

pub use builtin::BuiltinModel;
