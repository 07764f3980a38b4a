//! The language of a namespace's texts.

use bincode::{Decode, Encode};

/// Whose rules cut words to their stem, and say which words tell nothing. Fixed when a namespace
/// is created. Whatever the language, words are found in any case and width, and with or without
/// accents; but where an ending is known by its accent, a word without it may have another stem.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Encode, Decode)]
pub enum TextLanguage {
    /// None: words count as they are, and all of them.
    Plain,
    /// Arabic.
    Arabic,
    /// Danish.
    Danish,
    /// Dutch.
    Dutch,
    /// English.
    #[default]
    English,
    /// Finnish.
    Finnish,
    /// French.
    French,
    /// German.
    German,
    /// Greek.
    Greek,
    /// Hungarian.
    Hungarian,
    /// Italian.
    Italian,
    /// Norwegian.
    Norwegian,
    /// Portuguese.
    Portuguese,
    /// Romanian.
    Romanian,
    /// Russian.
    Russian,
    /// Spanish.
    Spanish,
    /// Swedish.
    Swedish,
    /// Tamil.
    Tamil,
    /// Turkish.
    Turkish,
}

impl TextLanguage {
    /// All of them, with their names.
    pub const ALL: [(TextLanguage, &'static str); 19] = [
        (TextLanguage::Plain, "plain"),
        (TextLanguage::Arabic, "arabic"),
        (TextLanguage::Danish, "danish"),
        (TextLanguage::Dutch, "dutch"),
        (TextLanguage::English, "english"),
        (TextLanguage::Finnish, "finnish"),
        (TextLanguage::French, "french"),
        (TextLanguage::German, "german"),
        (TextLanguage::Greek, "greek"),
        (TextLanguage::Hungarian, "hungarian"),
        (TextLanguage::Italian, "italian"),
        (TextLanguage::Norwegian, "norwegian"),
        (TextLanguage::Portuguese, "portuguese"),
        (TextLanguage::Romanian, "romanian"),
        (TextLanguage::Russian, "russian"),
        (TextLanguage::Spanish, "spanish"),
        (TextLanguage::Swedish, "swedish"),
        (TextLanguage::Tamil, "tamil"),
        (TextLanguage::Turkish, "turkish"),
    ];

    /// Its name, in lower case.
    pub fn name(self) -> &'static str {
        let found = TextLanguage::ALL.iter().find(|(each, _)| *each == self);
        found.map_or("plain", |(_, name)| name)
    }

    /// The language of that name.
    pub fn from_name(name: &str) -> Option<TextLanguage> {
        let found = TextLanguage::ALL.iter().find(|(_, each)| *each == name);
        found.map(|(language, _)| *language)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_a_name_of_its_own() {
        for (language, name) in TextLanguage::ALL {
            assert_eq!(language.name(), name);
            assert_eq!(TextLanguage::from_name(name), Some(language));
        }
        assert_eq!(TextLanguage::from_name("klingon"), None);
        assert_eq!(TextLanguage::default().name(), "english");
    }
}
