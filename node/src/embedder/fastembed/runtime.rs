//! ONNX Runtime: one library for the whole process, opened when a node starts.

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::LoadDynamicError;

/// The library that was opened, by its full path.
static LOADED: Mutex<Option<PathBuf>> = Mutex::new(None);

/// The library cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// There is none at that place.
    #[error("cannot open ONNX Runtime at {}: {source}", path.display())]
    NotFound {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is of no use to this release.
    #[error(
        "ONNX Runtime {found:?} at {} is too old: 1.{wanted} or later is needed", path.display()
    )]
    TooOld {
        /// Where.
        path: PathBuf,
        /// Its version.
        found: String,
        /// The least minor version.
        wanted: u32,
    },
    /// It is a library, or a file, of another kind.
    #[error("{} is not ONNX Runtime: {reason}", path.display())]
    NotRuntime {
        /// Where.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A process can have one.
    #[error("this process uses ONNX Runtime at {} already", .0.display())]
    Another(PathBuf),
}

/// Opens the library, once for the process. Opening the same one again does nothing.
///
/// # Errors
/// [`RuntimeError`] says what is wrong with it; another one may be tried then.
pub fn load_runtime(path: &Path) -> Result<(), RuntimeError> {
    let path = path
        .canonicalize()
        .map_err(|source| RuntimeError::NotFound {
            path: path.to_owned(),
            source,
        })?;
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    match &*loaded {
        Some(same) if *same == path => return Ok(()),
        Some(other) => return Err(RuntimeError::Another(other.clone())),
        None => {}
    }
    let opened = catch_unwind(|| ort::init_from(&path).map(drop));
    let not_runtime = |reason: String| RuntimeError::NotRuntime {
        path: path.clone(),
        reason,
    };
    match opened {
        Ok(Ok(())) => {
            *loaded = Some(path);
            Ok(())
        }
        Ok(Err(LoadDynamicError::BadVersion { version_str, path })) => Err(RuntimeError::TooOld {
            path,
            found: version_str,
            wanted: ort::MINOR_VERSION,
        }),
        Ok(Err(error)) => Err(not_runtime(error.to_string())),
        Err(_) => Err(not_runtime("it gives no interface".into())),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn what_is_not_there_or_no_library_is_named() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let missing = directory.path().join("libonnxruntime.so");
        let error = load_runtime(&missing).expect_err("missing");
        assert!(matches!(error, RuntimeError::NotFound { .. }), "{error}");
        std::fs::write(&missing, "not a library").expect("written");
        let error = load_runtime(&missing).expect_err("not a library");
        assert!(matches!(error, RuntimeError::NotRuntime { .. }), "{error}");
    }

    /// A library that says it is of a version.
    fn library(directory: &Path, name: &str, code: &str) -> PathBuf {
        let (source, library) = (directory.join("source.c"), directory.join(name));
        std::fs::write(&source, code).expect("written");
        let status = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .args([&library, &source])
            .status()
            .expect("there is a C compiler");
        assert!(status.success());
        library
    }

    #[test]
    fn a_library_that_is_too_old_or_another_one_is_refused() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let old = r#"
            static const void *api(unsigned version) { (void)version; return 0; }
            static const char *version(void) { return "1.9.2"; }
            static const struct { const void *(*api)(unsigned); const char *(*version)(void); }
                base = { api, version };
            const void *OrtGetApiBase(void) { return &base; }
        "#;
        let old = library(directory.path(), "old.so", old);
        let error = load_runtime(&old).expect_err("too old");
        let RuntimeError::TooOld { found, wanted, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!((found.as_str(), *wanted), ("1.9.2", 24));
        let other = library(
            directory.path(),
            "other.so",
            "int answer(void) { return 42; }",
        );
        let error = load_runtime(&other).expect_err("another library");
        assert!(matches!(error, RuntimeError::NotRuntime { .. }), "{error}");
        let empty = "const void *OrtGetApiBase(void) { return 0; }";
        let empty = library(directory.path(), "empty.so", empty);
        let error = load_runtime(&empty).expect_err("gives nothing");
        assert!(matches!(error, RuntimeError::NotRuntime { .. }), "{error}");
    }
}
