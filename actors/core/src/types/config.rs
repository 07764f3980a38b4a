//! The cluster configuration: one immutable version after another, decided by a register.

use bincode::{Decode, Encode};

use super::{Epoch, MemberId, NamespaceId, ShardId, TextLanguage};
use crate::index::ModelId;
use crate::limits::{FIELD_BYTES_MAX, NAME_BYTES_MAX, NAMESPACES_MAX};

/// One voting disk of the cluster and where to reach it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Encode, Decode)]
pub struct Member {
    /// The disk.
    pub id: MemberId,
    /// The node that owns it.
    pub name: String,
    /// `host:port` at which other members and clients reach it.
    pub address: String,
    /// Failure domain, if the operator named one.
    pub zone: Option<String>,
}

/// Who replicates one shard.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ShardConfig {
    /// Raised by every change of `members`.
    pub epoch: Epoch,
    /// The replicas, in routing order: the first live one serves by preference.
    pub members: Vec<MemberId>,
}

/// Which part of an entry is searched.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub enum IndexSource {
    /// The words of the key.
    Key,
    /// The text of the value.
    Value,
    /// Both.
    #[default]
    Both,
    /// The text of this field of values that are JSON objects; nothing of other values.
    Field(String),
}

/// What is fixed about a namespace when it is created.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct NamespaceOptions {
    /// What is indexed.
    pub source: IndexSource,
    /// Whether it is searched by words.
    pub text: bool,
    /// The language of its texts, for searches by words.
    pub language: TextLanguage,
    /// Whether it is searched by meaning.
    pub semantic: bool,
    /// What embeds its texts, by the name that it has in the nodes' settings.
    pub embedder: String,
    /// How many entries it holds at most, roughly; the least recently used are deleted beyond.
    pub max_entries: Option<u64>,
    /// The model behind that name, whose vectors alone are compared. Filled in by the node that
    /// creates the namespace; who asks for a namespace may leave it open.
    pub model: Option<ModelId>,
}

impl Default for NamespaceOptions {
    fn default() -> Self {
        NamespaceOptions {
            source: IndexSource::Both,
            text: true,
            language: TextLanguage::default(),
            semantic: true,
            embedder: "builtin".into(),
            max_entries: None,
            model: None,
        }
    }
}

impl NamespaceOptions {
    /// How many entries of the namespace one of `shards` shards may hold; none if any number.
    pub fn entries_max(&self, shards: u16) -> Option<u64> {
        let shards = u64::from(shards.max(1));
        self.max_entries.map(|most| most.div_ceil(shards).max(1))
    }

    /// Whether these options are what was asked for.
    pub fn satisfy(&self, asked: &NamespaceOptions) -> bool {
        let model = asked.model.clone().or_else(|| self.model.clone());
        let asked = NamespaceOptions {
            model,
            ..asked.clone()
        };
        *self == asked
    }

    fn check(&self) -> Result<(), NamespaceError> {
        if let IndexSource::Field(field) = &self.source
            && !(1..=FIELD_BYTES_MAX).contains(&field.len())
        {
            return Err(NamespaceError::Field(field.len()));
        }
        if self.max_entries == Some(0) {
            return Err(NamespaceError::NoEntries);
        }
        Ok(())
    }
}

/// A named set of keys.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Namespace {
    /// As stored in keys.
    pub id: NamespaceId,
    /// As users call it.
    pub name: String,
    /// Fixed at creation.
    pub options: NamespaceOptions,
}

/// One version of everything that all members must agree on.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ClusterConfig {
    /// Grows by one with each change.
    pub version: u64,
    /// The cluster's name.
    pub cluster: String,
    /// Hash of the first version: two clusters of one name are still different clusters.
    pub cluster_id: u64,
    /// All members, sorted by id.
    pub members: Vec<Member>,
    /// Replicas of each key shard, by shard number.
    pub shards: Vec<ShardConfig>,
    /// Replicas of the system shard: the ensemble that decides this configuration.
    pub system: ShardConfig,
    /// All namespaces, by id.
    pub namespaces: Vec<Namespace>,
}

/// A name that the rules do not allow.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "{what} {name:?} is not allowed: use 1 to {NAME_BYTES_MAX} letters, digits, '-', '_' or '.', \
     starting with a letter or digit"
)]
pub struct NameError {
    /// What is being named.
    pub what: &'static str,
    /// The name.
    pub name: String,
}

/// Checks the name of a cluster, node or namespace.
///
/// # Errors
/// [`NameError`] unless it is 1 to [`NAME_BYTES_MAX`] ASCII letters, digits, `-`, `_` or `.`,
/// starting with a letter or digit.
pub fn check_name(what: &'static str, name: &str) -> Result<(), NameError> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    let all_good = name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if starts_well && all_good && name.len() <= NAME_BYTES_MAX {
        Ok(())
    } else {
        Err(NameError {
            what,
            name: name.into(),
        })
    }
}

/// Why a namespace cannot be added.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NamespaceError {
    /// Not a name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// It exists with other options, which are fixed at creation.
    #[error("namespace {0:?} exists with other options, and options are fixed at creation")]
    OptionsDiffer(String),
    /// There are too many.
    #[error("a cluster may have {NAMESPACES_MAX} namespaces at most")]
    TooMany,
    /// The name of the indexed field has so many bytes.
    #[error("the name of an indexed field has 1 to {FIELD_BYTES_MAX} bytes, not {0}")]
    Field(usize),
    /// It could not hold anything.
    #[error("a namespace that may hold no entries is of no use: max-entries is 1 at least")]
    NoEntries,
}

impl ClusterConfig {
    /// The replicas of a shard; none if there is no such shard.
    pub fn shard(&self, shard: ShardId) -> Option<&ShardConfig> {
        if shard.is_system() {
            Some(&self.system)
        } else {
            self.shards.get(usize::from(shard.0))
        }
    }

    /// How many key shards there are.
    pub fn shard_count(&self) -> u16 {
        u16::try_from(self.shards.len()).expect("checked against SHARDS_MAX at genesis")
    }

    /// The member of that id.
    pub fn member(&self, id: MemberId) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }

    /// The namespace of that name.
    pub fn namespace(&self, name: &str) -> Option<&Namespace> {
        self.namespaces
            .iter()
            .find(|namespace| namespace.name == name)
    }

    /// The namespace of that id.
    pub fn namespace_by_id(&self, id: NamespaceId) -> Option<&Namespace> {
        self.namespaces.iter().find(|namespace| namespace.id == id)
    }

    /// Whether there is a namespace of this name, with the options that are asked for, if any.
    ///
    /// # Errors
    /// [`NamespaceError`] if it has other options, or its name or what is asked for is not allowed.
    pub fn has_namespace(
        &self,
        name: &str,
        asked: Option<&NamespaceOptions>,
    ) -> Result<bool, NamespaceError> {
        check_name("namespace", name)?;
        if let Some(asked) = asked {
            asked.check()?;
        }
        match (self.namespace(name), asked) {
            (None, _) => Ok(false),
            (Some(found), Some(asked)) if !found.options.satisfy(asked) => {
                Err(NamespaceError::OptionsDiffer(name.into()))
            }
            (Some(_), _) => Ok(true),
        }
    }

    /// The next version, with one more namespace.
    ///
    /// # Errors
    /// [`NamespaceError`] if it must not be added.
    pub fn with_namespace(
        &self,
        name: &str,
        options: NamespaceOptions,
    ) -> Result<ClusterConfig, NamespaceError> {
        options.check()?;
        if self.has_namespace(name, None)? {
            return Err(NamespaceError::OptionsDiffer(name.into()));
        }
        if self.namespaces.len() >= NAMESPACES_MAX {
            return Err(NamespaceError::TooMany);
        }
        let highest = self
            .namespaces
            .iter()
            .map(|namespace| namespace.id.0)
            .max()
            .unwrap_or(0);
        let mut next = self.clone();
        next.version += 1;
        next.namespaces.push(Namespace {
            id: NamespaceId(highest + 1),
            name: name.into(),
            options,
        });
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ClusterConfig {
        ClusterConfig {
            version: 1,
            cluster: "c".into(),
            cluster_id: 1,
            members: vec![],
            shards: vec![],
            system: ShardConfig {
                epoch: Epoch(1),
                members: vec![],
            },
            namespaces: vec![],
        }
    }

    #[test]
    fn names_are_checked() {
        for good in ["a", "users", "user-1.x_y", "0"] {
            assert!(check_name("namespace", good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a b", "ü", "a/b", &"x".repeat(NAME_BYTES_MAX + 1)] {
            assert!(check_name("namespace", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_namespace_is_added_once_and_its_options_are_fixed() {
        let first = config();
        assert_eq!(first.has_namespace("users", None), Ok(false));
        let second = first
            .with_namespace("users", NamespaceOptions::default())
            .expect("allowed");
        assert_eq!(second.version, 2);
        assert_eq!(
            second.namespace("users").map(|n| n.id),
            Some(NamespaceId(1))
        );
        assert_eq!(second.has_namespace("users", None), Ok(true));
        let other = NamespaceOptions {
            text: false,
            ..NamespaceOptions::default()
        };
        let differ = NamespaceError::OptionsDiffer("users".into());
        assert_eq!(
            second.has_namespace("users", Some(&other)),
            Err(differ.clone())
        );
        assert_eq!(second.with_namespace("users", other.clone()), Err(differ));
        let third = second.with_namespace("docs", other).expect("allowed");
        assert_eq!(third.namespace("docs").map(|n| n.id), Some(NamespaceId(2)));
    }

    #[test]
    fn senseless_options_are_refused() {
        let field = |length: usize| NamespaceOptions {
            source: IndexSource::Field("f".repeat(length)),
            ..NamespaceOptions::default()
        };
        let nothing = NamespaceOptions {
            max_entries: Some(0),
            ..NamespaceOptions::default()
        };
        let add = |options: &NamespaceOptions| config().has_namespace("n", Some(options));
        assert_eq!(add(&field(0)), Err(NamespaceError::Field(0)));
        assert!(add(&field(FIELD_BYTES_MAX)).is_ok());
        let longer = FIELD_BYTES_MAX + 1;
        assert_eq!(add(&field(longer)), Err(NamespaceError::Field(longer)));
        assert_eq!(add(&nothing), Err(NamespaceError::NoEntries));
    }

    #[test]
    fn each_shard_has_its_share_of_the_entries_and_at_least_one() {
        let most = |max_entries| NamespaceOptions {
            max_entries,
            ..NamespaceOptions::default()
        };
        for (max_entries, shards, share) in [
            (None, 64, None),
            (Some(1), 64, Some(1)),
            (Some(64_000), 64, Some(1000)),
            (Some(65), 64, Some(2)),
            (Some(5), 1, Some(5)),
        ] {
            assert_eq!(most(max_entries).entries_max(shards), share);
        }
    }

    #[test]
    fn a_model_that_is_left_open_is_any_but_a_named_one_must_be_it() {
        let model = |name: &str| NamespaceOptions {
            model: ModelId::new(name).ok(),
            ..NamespaceOptions::default()
        };
        let stored = model("minilm");
        assert!(stored.satisfy(&NamespaceOptions::default()));
        assert!(stored.satisfy(&model("minilm")));
        assert!(!stored.satisfy(&model("another")));
        let elsewhere = NamespaceOptions {
            embedder: "openai".into(),
            ..NamespaceOptions::default()
        };
        assert!(!stored.satisfy(&elsewhere));
    }
}
