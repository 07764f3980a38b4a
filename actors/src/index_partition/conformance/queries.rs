//! What queries mean, and that none does harm.

use engram_core::index::{TextChange, TextDocument, TextQuery, WordsMode};
use engram_core::limits::EXPRESSION_DEPTH_MAX;

use super::{all_of, commit, document, names, search, sorted, upsert};
use crate::index_partition::TextIndex;

pub(super) fn expressions(index: &dyn TextIndex) {
    let tagged = TextDocument {
        tags: vec!["eu".to_owned(), "two words".to_owned()],
        ..document("user:1:profile", "user 1 profile Ada likes tea and cake")
    };
    index.apply(vec![
        TextChange::Upsert(tagged),
        upsert("user:2", "user 2 Grace likes cake and tea"),
        upsert("note:1", "note 1 a quick brown fox, teatime, profile"),
    ]);
    commit(index, "mark");
    let (ada, grace, note) = ("user:1:profile", "user:2", "note:1");
    for (expression, found) in [
        ("likes tea", vec![ada, grace]),
        ("tea NOT grace", vec![ada]),
        ("ada OR fox", vec![note, ada]),
        ("(ada OR fox) profile -quick", vec![ada]),
        ("\"tea and cake\"", vec![ada]),
        ("\"cake and tea\"", vec![grace]),
        ("\"brown quick\"", vec![]),
        ("tea*", vec![note, ada, grace]),
        ("teat*", vec![note]),
        ("fox brow*", vec![note]),
        ("key:profile", vec![ada]),
        ("key:\"user 1\"", vec![ada]),
        ("key:user:*", vec![ada, grace]),
        ("key:ser:*", vec![]),
        ("tag:eu", vec![ada]),
        ("tag:\"two words\" tea", vec![ada]),
        ("tag:two", vec![]),
        ("the tea and grace", vec![grace]),
        ("the", vec![]),
        ("the NOT tea", vec![]),
        ("absent OR tag:eu", vec![ada]),
    ] {
        let query = TextQuery {
            mode: WordsMode::Expression,
            ..all_of(expression)
        };
        assert_eq!(sorted(names(index, query)), found, "{expression}");
    }
}

pub(super) fn odd_expressions(index: &dyn TextIndex) {
    index.apply(vec![upsert("k", "foo bar")]);
    commit(index, "1");
    let deep = EXPRESSION_DEPTH_MAX;
    let nested = format!("{}foo{}", "(".repeat(deep), ")".repeat(deep));
    let too_deep = format!("{}foo{}", "(".repeat(100_000), ")".repeat(100_000));
    let dashes = format!("foo {}", "-".repeat(50_000));
    for (expression, finds) in [
        (nested.as_str(), true),
        (&too_deep, false),
        (&dashes, true),
        ("(foo", false),
        ("foo)", false),
        ("\"foo", false),
        ("foo\"", false),
        ("/fo+.*/", false),
        ("f?o", false),
        ("fo[aeiou]", false),
        ("foo~2", false),
        ("*", false),
        ("fo*o", false),
        ("f*", true),
        ("body:foo", false),
        ("NOT foo", false),
        ("", false),
    ] {
        let query = TextQuery {
            mode: WordsMode::Expression,
            ..all_of(expression)
        };
        let short: String = expression.chars().take(40).collect();
        assert_eq!(!names(index, query).is_empty(), finds, "{short}");
    }
}

pub(super) fn similar(index: &dyn TextIndex) {
    let common = "common words that stand in every text here";
    index.apply(vec![
        upsert("a", &format!("volcano eruption ash {common}")),
        upsert("b", &format!("ash tree {common}")),
        upsert("c", "nothing shared at all"),
    ]);
    commit(index, "mark");
    let query = TextQuery {
        mode: WordsMode::Similar,
        ..all_of("The volcano threw ash; the ash of the volcano fell on every text.")
    };
    assert_eq!(names(index, query), ["a", "b"]);
}

pub(super) fn any_text(index: &dyn TextIndex) {
    index.apply(vec![upsert(
        "k",
        "foo and bar: (baz) \"quoted\" \u{0} \u{202e} 日本語",
    )]);
    commit(index, "1");
    for query in [
        "\"foo AND (",
        "foo:bar",
        "+foo -bar",
        "foo~2^3",
        "/fo+/",
        "*",
        "[a TO b]",
        "{",
        "\\",
        "foo\u{0}bar",
        "\u{202e}",
        "''",
        "NOT",
        "&& || !",
        "\u{ffff}",
        "   ",
    ] {
        for mode in [
            WordsMode::All,
            WordsMode::Any,
            WordsMode::Similar,
            WordsMode::Expression,
        ] {
            search(
                index,
                TextQuery {
                    mode,
                    ..all_of(query)
                },
            )
            .unwrap_or_else(|error| panic!("{query:?} fails: {error}"));
        }
    }
    assert_eq!(names(index, all_of("\"foo AND (")), ["k"]);
    let long = "foo ".repeat(50_000);
    assert_eq!(names(index, all_of(&long)), ["k"]);
    let many: String = (0..5_000).map(|number| format!("w{number} ")).collect();
    let any = TextQuery {
        mode: WordsMode::Any,
        ..all_of(&format!("foo {many}"))
    };
    assert_eq!(names(index, any), ["k"]);
    let unbroken = "x".repeat(70_000);
    index.apply(vec![upsert("k", &unbroken), upsert("l", "fine")]);
    commit(index, "2");
    assert_eq!(names(index, all_of("fine")), ["l"]);
    search(index, all_of(&unbroken)).expect("no failure");
}
