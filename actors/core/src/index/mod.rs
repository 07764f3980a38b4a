//! Search within one node, without I/O: which text of an entry is indexed, vectors and their
//! exact scan, the best of many hits, and how vectors are stored.

mod embedding;
mod embeddings;
mod failed_embedding;
mod feed;
mod hash_embedder;
mod indexed_text;
mod json_text;
mod key_words;
mod model_id;
mod options;
pub mod partition;
mod partition_of;
mod plain_words;
mod query;
mod ready_vectors;
mod sealed;
mod snippet;
mod sought_words;
mod stop_words;
mod text;
mod text_analyzer;
mod text_chunks;
mod text_expression;
mod text_fold;
mod text_marks;
mod top_k;
mod vector_record;
pub mod vectors;

pub use embedding::{Embedding, EmbeddingError};
pub use embeddings::{Embeddings, EmbeddingsError};
pub use failed_embedding::{EmbedOutlook, FailedEmbedding};
pub use feed::{FeedEntry, FeedPage, FeedRequest};
pub use hash_embedder::HashEmbedder;
pub use indexed_text::IndexedText;
pub use key_words::key_words;
pub use model_id::{ModelId, ModelIdError};
pub use options::{IndexOptions, IndexOptionsLookup, NamespaceIndexing};
pub use partition_of::partition_of;
pub use plain_words::plain_words;
pub use query::{
    PartitionError, PartitionHit, PartitionHits, PartitionQuery, QueryKind, ShardLag, VectorShip,
    VectorWant,
};
pub use ready_vectors::{ReadyVectorError, ReadyVectors};
pub use sealed::SealError;
pub use snippet::Snippet;
pub use sought_words::SoughtWords;
pub use stop_words::is_stop_word;
pub use text::{TextChange, TextDocument, TextHit, TextQuery, WordsMode};
pub use text_analyzer::{TextAnalyzer, TextWord};
pub use text_expression::{ExpressionError, TextExpression, TextField};
pub use text_marks::TextMarks;
pub use top_k::{TopK, rank};
pub use vector_record::{
    StoredVector, VectorKey, parse_vector_key, seal_vector_mark, unseal_vector_mark, vector_key,
    vector_mark_key, vector_range,
};

pub use crate::types::IndexSource as Source;
