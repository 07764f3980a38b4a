//! The text in a JSON document, in the order in which it was written.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A scalar met in a JSON document. Field names are not reported: they say the same of every
/// document and would drown what differs.
pub(super) enum Scalar<'a> {
    /// A string.
    Text(&'a str),
    /// A number, as printed.
    Number(String),
    /// `true` or `false`.
    Bool(bool),
}

/// Reports every scalar of a JSON object, array or string, but for one field of an object. Returns
/// `false` if the bytes are not one; what was reported until then must be discarded.
pub(super) fn scalars(
    text: &str,
    left_out: Option<&str>,
    report: &mut dyn FnMut(Scalar<'_>),
) -> bool {
    // A bare number or word is as good as plain text, and most plain text ends here.
    if !text.trim_start().starts_with(['{', '[', '"']) {
        return false;
    }
    let mut parser = serde_json::Deserializer::from_str(text);
    let walk = Walk { left_out, report };
    walk.deserialize(&mut parser).is_ok() && parser.end().is_ok()
}

/// As [`scalars`], of one field of an object alone, if it has that field.
pub(super) fn field_scalars(text: &str, name: &str, report: &mut dyn FnMut(Scalar<'_>)) -> bool {
    if !text.trim_start().starts_with('{') {
        return false;
    }
    let mut parser = serde_json::Deserializer::from_str(text);
    let field = Field { name, report };
    field.deserialize(&mut parser).is_ok() && parser.end().is_ok()
}

/// An object, of which one field is walked.
struct Field<'r> {
    name: &'r str,
    report: &'r mut dyn FnMut(Scalar<'_>),
}

impl<'de> DeserializeSeed<'de> for Field<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Field<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(name) = fields.next_key::<std::borrow::Cow<'_, str>>()? {
            if name == self.name {
                fields.next_value_seed(Walk::all(self.report))?;
            } else {
                fields.next_value::<serde::de::IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

struct Walk<'r> {
    /// The field of an object that is not walked.
    left_out: Option<&'r str>,
    report: &'r mut dyn FnMut(Scalar<'_>),
}

impl<'r> Walk<'r> {
    fn all(report: &'r mut dyn FnMut(Scalar<'_>)) -> Walk<'r> {
        let left_out = None;
        Walk { left_out, report }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        (self.report)(Scalar::Bool(value));
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        (self.report)(Scalar::Number(value.to_string()));
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        (self.report)(Scalar::Number(value.to_string()));
        Ok(())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        (self.report)(Scalar::Number(value.to_string()));
        Ok(())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        (self.report)(Scalar::Text(value));
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Walk::all(self.report))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(name) = fields.next_key::<std::borrow::Cow<'_, str>>()? {
            if self.left_out == Some(&*name) {
                fields.next_value::<serde::de::IgnoredAny>()?;
            } else {
                fields.next_value_seed(Walk::all(self.report))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(text: &str) -> Option<Vec<String>> {
        let mut found = Vec::new();
        scalars(text, Some("left out"), &mut |scalar| {
            found.push(match scalar {
                Scalar::Text(text) => text.to_owned(),
                Scalar::Number(number) => number,
                Scalar::Bool(value) => value.to_string(),
            });
        })
        .then_some(found)
    }

    #[test]
    fn documents_are_walked_in_written_order() {
        let text = r#" {"name": "Ada", "born": 1815, "tags": ["math", {"x": true}], "no": null, "left out": [1, "2"]} "#;
        let words = ["Ada", "1815", "math", "true"].map(str::to_owned).to_vec();
        assert_eq!(walk(text), Some(words));
        assert_eq!(
            walk(r#""just \"text\"""#),
            Some(vec!["just \"text\"".to_owned()])
        );
    }

    #[test]
    fn what_is_not_a_document_is_told_apart() {
        for text in [
            "",
            "plain",
            "42",
            "{",
            "{\"a\": 1} trailing",
            "[1, 2",
            "{a: 1}",
        ] {
            assert_eq!(walk(text), None, "{text:?}");
        }
        let deep = "[".repeat(10_000);
        assert_eq!(walk(&deep), None);
    }
}
