//! Values as text and as JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;

use engram_core::types::Blob;

use crate::{ClientError, IntoKey, Namespace, Put, ValueError};

impl Namespace {
    /// Writes text when awaited. The same as [`Namespace::put`], for symmetry.
    pub fn put_string(&self, key: impl IntoKey, text: impl Into<String>) -> Put {
        self.put(key, text.into())
    }

    /// Reads text.
    ///
    /// # Errors
    /// [`ValueError::NotText`] if the value is not UTF-8; else [`ClientError`].
    pub async fn get_string(&self, key: impl IntoKey) -> Result<Option<String>, ClientError> {
        let found = self.get(key).await?;
        found
            .map(|entry| entry.text().map(str::to_owned))
            .transpose()
    }

    /// Writes anything that serde can write as JSON, when awaited. If it has no JSON form,
    /// awaiting says so with [`ValueError::NoJson`].
    ///
    /// ```no_run
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct User {
    ///     name: String,
    /// }
    ///
    /// # async fn run(users: engram_client::Namespace) -> Result<(), engram_client::ClientError> {
    /// users.put_json("user:1", &User { name: "Ada".into() }).tag("eu").await?;
    /// let user: Option<User> = users.get_json("user:1").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn put_json<T: Serialize + ?Sized>(&self, key: impl IntoKey, value: &T) -> Put {
        match serde_json::to_vec(value) {
            Ok(json) => self.put(key, json),
            Err(error) => {
                let error = ClientError::Value(ValueError::NoJson(error));
                Put::new(self.clone(), Err(error), Blob::default())
            }
        }
    }

    /// Reads JSON.
    ///
    /// # Errors
    /// [`ValueError::NotJson`] if the value is no JSON of this type; else [`ClientError`].
    pub async fn get_json<T: DeserializeOwned>(
        &self,
        key: impl IntoKey,
    ) -> Result<Option<T>, ClientError> {
        let found = self.get(key).await?;
        found.map(|entry| entry.json()).transpose()
    }
}
