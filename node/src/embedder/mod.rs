//! The embedding models that a node can bring.
//!
//! | name | what | needs |
//! |---|---|---|
//! | `builtin` | a small model in the binary | nothing |
//! | `hash` | words without meaning, for tests | nothing |
//! | `vectors-N` | entries bring their vectors | nothing |
//! | any, of kind `fastembed` | a model in ONNX format | ONNX Runtime, a model |
//! | any, of kind `openai` | an endpoint that speaks OpenAI's protocol | a URL, perhaps a key |

mod builtin;
mod catalog;
pub mod fastembed;
pub mod openai;
mod settings;

pub use builtin::BuiltinModel;
pub use catalog::{ProvideError, catalog};
pub use settings::{EmbedderSettings, FastembedSettings, OWN_EMBEDDERS, OpenAiSettings};
