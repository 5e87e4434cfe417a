//! Cursors: any text is a cursor or an error, and every cursor has one text.

use a4co_store::{Cursor, CursorError};
use proptest::prelude::*;

const GOOD: &str = "0101a5c1f2d3e400112233445566778899aabbccddeeff";

#[track_caller]
fn check(text: &str, expected: Result<(), CursorError>) {
    let parsed = text.parse::<Cursor>();
    assert_eq!(parsed.map(drop), expected, "{text:?}");
}

#[test]
fn only_what_was_given_out_is_taken() {
    check(GOOD, Ok(()));
    check("", Err(CursorError::Malformed));
    check(&GOOD[1..], Err(CursorError::Malformed));
    check(&format!("{GOOD}0"), Err(CursorError::Malformed));
    check(&GOOD.to_uppercase(), Err(CursorError::Malformed));
    check(&GOOD.replace('a', "g"), Err(CursorError::Malformed));
    check(&format!("02{}", &GOOD[2..]), Err(CursorError::Version(2)));
    // Past the year 9999.
    check(
        &format!("01ffffffffffff{}", &GOOD[14..]),
        Err(CursorError::Malformed),
    );
    check(&"é".repeat(23), Err(CursorError::Malformed));
}

proptest! {
    #[test]
    fn any_text_gives_a_cursor_or_an_error(text in any::<String>()) {
        if let Ok(cursor) = text.parse::<Cursor>() {
            prop_assert_eq!(cursor.to_string(), text);
        }
    }

    #[test]
    fn any_digits_give_a_cursor_or_an_error(text in "01[0-9a-f]{44}|[0-9a-f]{40,50}") {
        if let Ok(cursor) = text.parse::<Cursor>() {
            prop_assert_eq!(cursor.to_string(), text);
        }
    }
}
