//! Words in keys: `user:123:homeAddress` says "user", "123", "home" and "address".

/// Splits a key into words, at everything that is neither letter nor digit and where camelCase
/// starts a new word. `HTTPServer2` gives `HTTP` and `Server2`.
pub fn key_words(key: &str) -> impl Iterator<Item = &str> {
    key_parts(key).flat_map(camel_words)
}

/// Splits a key at everything that is neither letter nor digit, but keeps camelCase whole.
pub(super) fn key_parts(key: &str) -> impl Iterator<Item = &str> {
    key.split(|c: char| !c.is_alphanumeric())
        .filter(|part| !part.is_empty())
}

/// Splits one part where a lower-case letter or digit meets an upper-case letter, and before the
/// last capital of a run that a lower-case letter follows.
fn camel_words(part: &str) -> impl Iterator<Item = &str> {
    let mut rest = part;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (word, after) = rest.split_at(camel_boundary(rest));
        rest = after;
        Some(word)
    })
}

/// Where the first word of `part` ends, in bytes.
fn camel_boundary(part: &str) -> usize {
    let mut characters = part.char_indices().peekable();
    let mut before: Option<char> = None;
    while let Some((place, character)) = characters.next() {
        if let Some(before) = before
            && character.is_uppercase()
        {
            let next_is_lower = characters
                .peek()
                .is_some_and(|(_, next)| next.is_lowercase());
            if !before.is_uppercase() || next_is_lower {
                return place;
            }
        }
        before = Some(character);
    }
    part.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_fall_into_words() {
        for (key, words) in [
            ("user:123:profile", vec!["user", "123", "profile"]),
            ("a/b_c-d.e", vec!["a", "b", "c", "d", "e"]),
            ("homeAddress", vec!["home", "Address"]),
            ("HTTPServer2Go", vec!["HTTP", "Server2", "Go"]),
            ("::--", vec![]),
            ("", vec![]),
            ("größeÄndern", vec!["größe", "Ändern"]),
            ("ABC", vec!["ABC"]),
            ("日本語:キー", vec!["日本語", "キー"]),
        ] {
            assert_eq!(key_words(key).collect::<Vec<_>>(), words, "{key:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_but_separators_is_lost(key in "\\PC{0,40}") {
            let joined: String = key_words(&key).collect();
            let kept: String = key.chars().filter(|c| c.is_alphanumeric()).collect();
            proptest::prop_assert_eq!(joined, kept);
        }
    }
}
