//! Where an endpoint is and what it is asked for, complete and checked.

use std::net::IpAddr;

use engram_core::index::{ModelId, ModelIdError};
use engram_core::limits::EMBEDDING_DIM_MAX;
use ureq::http::Uri;

/// What an [`OpenAiModel`](super::OpenAiModel) needs to know.
#[derive(Clone)]
pub struct OpenAiOptions {
    /// The model, as namespaces name it.
    pub(super) id: ModelId,
    url: String,
    /// The model, as the endpoint names it.
    pub(super) model: String,
    pub(super) dimensions: usize,
    /// Whether the endpoint is told how many dimensions are wanted; not all take that.
    pub request_dimensions: bool,
    /// Sent as a bearer token. Never shown.
    pub key: Option<String>,
    /// How long one attempt may take, in milliseconds.
    pub timeout_ms: u64,
    /// How often it is tried, at least once.
    pub attempts: u32,
    /// Half of the longest first pause between attempts, in milliseconds.
    pub retry_ms: u64,
}

/// Settings of an endpoint that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenAiOptionsError {
    /// Not an address.
    #[error("url {0:?} is not of the form http://host:port/v1 or https://...")]
    Url(String),
    /// It holds a secret that would be shown.
    #[error("the url must not hold a user or password: give a key with key_file or key_env")]
    SecretInUrl,
    /// Too many or too few.
    #[error("dimensions must be 1 to {EMBEDDING_DIM_MAX}, not {0}")]
    Dimensions(usize),
    /// The model's name is empty or too long.
    #[error("model: {0}")]
    Model(#[from] ModelIdError),
}

impl OpenAiOptions {
    /// An endpoint below `url` (for example `https://api.openai.com/v1`) and what to ask of it.
    ///
    /// # Errors
    /// [`OpenAiOptionsError`] says what cannot be used.
    pub fn new(
        url: &str,
        model: &str,
        dimensions: usize,
    ) -> Result<OpenAiOptions, OpenAiOptionsError> {
        let bad_url = || OpenAiOptionsError::Url(url.to_owned());
        let parsed: Uri = url.parse().map_err(|_| bad_url())?;
        let authority = parsed.authority().ok_or_else(bad_url)?;
        if authority.as_str().contains('@') {
            return Err(OpenAiOptionsError::SecretInUrl);
        }
        if !matches!(parsed.scheme_str(), Some("http" | "https")) || parsed.query().is_some() {
            return Err(bad_url());
        }
        if !(1..=EMBEDDING_DIM_MAX).contains(&dimensions) {
            return Err(OpenAiOptionsError::Dimensions(dimensions));
        }
        if model.is_empty() {
            return Err(ModelIdError::Empty.into());
        }
        Ok(OpenAiOptions {
            id: ModelId::new(format!("openai/{model}/{dimensions}"))?,
            url: url.trim_end_matches('/').to_owned(),
            model: model.to_owned(),
            dimensions,
            request_dimensions: false,
            key: None,
            timeout_ms: 10_000,
            attempts: 3,
            retry_ms: 100,
        })
    }

    pub(super) fn endpoint(&self) -> String {
        format!("{}/embeddings", self.url)
    }

    /// Whether it is on this machine: no proxy leads there.
    pub(super) fn is_local(&self) -> bool {
        let uri: Option<Uri> = self.url.parse().ok();
        let host = uri.and_then(|uri| uri.host().map(str::to_owned));
        host.is_some_and(|host| {
            let host = host.trim_matches(['[', ']']);
            let address: Option<IpAddr> = host.parse().ok();
            address.map_or(host == "localhost", |address| address.is_loopback())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_id_names_model_and_dimensions_but_not_the_place() {
        let id = |url| OpenAiOptions::new(url, "nomic", 768).map(|options| options.id);
        let here = id("http://localhost:11434/v1").expect("sound");
        assert_eq!(here.as_str(), "openai/nomic/768");
        assert_eq!(id("https://embed.example/v1/").expect("sound"), here);
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        let refused = |url, model, dimensions| {
            let error = OpenAiOptions::new(url, model, dimensions).err();
            error.map(|error| error.to_string()).unwrap_or_default()
        };
        for url in [
            "",
            "localhost",
            "ftp://h/v1",
            "http://",
            "http://h/v1?key=x",
            "h:1/v1",
        ] {
            assert!(refused(url, "m", 4).contains("url"), "{url:?}");
        }
        assert!(refused("http://me:secret@h/v1", "m", 4).contains("key_file"));
        assert!(!refused("http://me:secret@h/v1", "m", 4).contains("secret@"));
        assert!(refused("http://h/v1", "m", 0).contains("dimensions"));
        assert!(refused("http://h/v1", "m", 4097).contains("dimensions"));
        assert!(refused("http://h/v1", "", 4).contains("empty"));
        assert!(refused("http://h/v1", &"m".repeat(128), 4).contains("bytes at most"));
    }

    #[test]
    fn the_machine_itself_needs_no_proxy() {
        let local = |url| OpenAiOptions::new(url, "m", 4).expect("sound").is_local();
        assert!(local("http://127.0.0.1:1/v1") && local("http://localhost/v1"));
        assert!(local("http://[::1]:80/v1"));
        assert!(!local("https://api.openai.com/v1"));
    }
}
