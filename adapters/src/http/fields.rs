//! Reading a JSON body field by field, so that every offending one is found at once.
//!
//! Apart from serde's derived decoding, which stops at the first mistake and turns numbers
//! into binary floating point. Here a value stays its own text (`RawValue`) until somebody
//! knows what it is to be, and every finding carries its JSON pointer (RFC 6901).

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use a4co_core::ids::IdError;
use a4co_core::money::{Amount, Currency};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::problem::{Code, ERRORS_MAX, FieldError, Problem, id_code, money_code};

/// What is wrong so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    errors: Vec<FieldError>,
    omitted: usize,
}

impl Findings {
    /// Notes one mistake.
    pub(super) fn add(&mut self, at: Place<'_>, code: &'static str, detail: impl Into<String>) {
        if self.is_full() {
            self.omitted += 1;
            return;
        }
        self.errors.push(FieldError {
            pointer: Some(at.to_string()),
            parameter: None,
            code,
            detail: detail.into(),
        });
    }

    /// Nothing was wrong.
    pub(super) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// Further ones are counted, and no longer listed.
    fn is_full(&self) -> bool {
        self.errors.len() >= ERRORS_MAX
    }

    /// What was wrong, as an answer.
    pub(super) fn into_problem(self, code: Code) -> Problem {
        Problem::of_fields(code, self.errors, self.omitted)
    }

    /// The value, if nothing at all was wrong.
    pub(super) fn done<T>(self, value: Option<T>) -> Result<T, Problem> {
        match value {
            Some(value) if self.is_empty() => Ok(value),
            _ => Err(self.into_problem(Code::ValidationFailed)),
        }
    }
}

/// A place in a body, as a path of borrowed steps: costs nothing until it is shown.
#[derive(Clone, Copy)]
pub(super) struct Place<'p> {
    parent: Option<&'p Place<'p>>,
    step: Step<'p>,
}

#[derive(Clone, Copy)]
enum Step<'p> {
    Root,
    Key(&'p str),
    Index(usize),
}

impl<'p> Place<'p> {
    /// The whole body.
    pub(super) const ROOT: Place<'static> = Place {
        parent: None,
        step: Step::Root,
    };

    /// A field of the object at this place.
    pub(super) const fn key(&'p self, key: &'p str) -> Self {
        Self {
            parent: Some(self),
            step: Step::Key(key),
        }
    }

    /// An element of the array at this place.
    pub(super) const fn index(&'p self, index: usize) -> Self {
        Self {
            parent: Some(self),
            step: Step::Index(index),
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Root => Ok(()),
            Step::Key(key) => write!(f, "/{}", key.replace('~', "~0").replace('/', "~1")),
            Step::Index(index) => write!(f, "/{index}"),
        }
    }
}

/// A string of a body, borrowed where it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The fields of an object in their order, each value still its own text.
struct RawFields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for RawFields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = RawFields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::with_capacity(8);
                while let Some((Text(key), value)) = map.next_entry()? {
                    fields.push((key, value));
                }
                Ok(RawFields(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// What kind of value a text is. The text is known to be valid JSON.
fn kind(raw: &RawValue) -> &'static str {
    match raw.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// An object that is being read. What is not taken by [`Object::end`] is unknown.
pub(super) struct Object<'a> {
    fields: Vec<(Cow<'a, str>, &'a RawValue)>,
    known: Vec<&'static str>,
}

impl<'a> Object<'a> {
    /// The body as an object.
    ///
    /// # Errors
    /// [`Code::MalformedJson`], or [`Code::ValidationFailed`] for JSON that is no object.
    pub(super) fn of_body(body: &'a [u8]) -> Result<Self, Problem> {
        let malformed = |detail: String| Problem::new(Code::MalformedJson, detail);
        let text = std::str::from_utf8(body).map_err(|error| {
            malformed(format!(
                "the body is not UTF-8: a wrong byte at position {}",
                error.valid_up_to()
            ))
        })?;
        let raw: &RawValue = serde_json::from_str(text)
            .map_err(|error| malformed(format!("the body is not valid JSON: {error}")))?;
        let mut findings = Findings::default();
        let object = Self::read(raw, Place::ROOT, &mut findings);
        findings.done(object)
    }

    /// An object without fields, for a request without a body.
    pub(super) const fn empty() -> Self {
        Self {
            fields: Vec::new(),
            known: Vec::new(),
        }
    }

    fn read(raw: &'a RawValue, at: Place<'_>, findings: &mut Findings) -> Option<Self> {
        if !raw.get().starts_with('{') {
            findings.add(
                at,
                "wrong_type",
                format!("must be an object, not {}", kind(raw)),
            );
            return None;
        }
        match serde_json::from_str(raw.get()) {
            Ok(RawFields(fields)) => Some(Self {
                fields,
                known: Vec::new(),
            }),
            // Valid JSON may still hold half of a surrogate pair.
            Err(_) => {
                findings.add(at, "invalid_text", "a field's name is not valid Unicode");
                None
            }
        }
    }

    /// Takes a field. JSON's `null` is taken for its absence.
    pub(super) fn take<'p>(
        &mut self,
        at: &'p Place<'p>,
        name: &'static str,
    ) -> Option<Value<'a, 'p>> {
        self.known.push(name);
        let position = self.fields.iter().position(|(key, _)| key == name)?;
        // The order of the rest matters to nobody but `metadata`, which takes them all.
        let (_, raw) = self.fields.remove(position);
        (raw.get() != "null").then(|| Value {
            raw,
            at: at.key(name),
        })
    }

    /// Takes a field that must be there.
    pub(super) fn require<'p>(
        &mut self,
        at: &'p Place<'p>,
        name: &'static str,
        findings: &mut Findings,
    ) -> Option<Value<'a, 'p>> {
        let value = self.take(at, name);
        if value.is_none() {
            findings.add(at.key(name), "required", "is required");
        }
        value
    }

    /// All fields that are left, with a finding for each name that comes twice.
    pub(super) fn rest(
        self,
        at: Place<'_>,
        findings: &mut Findings,
    ) -> Vec<(Cow<'a, str>, &'a RawValue)> {
        let mut seen = BTreeSet::new();
        for (key, _) in &self.fields {
            if !seen.insert(key.as_ref()) {
                findings.add(at.key(key), "duplicate_field", "is there more than once");
            }
        }
        self.fields
    }

    /// Ends the object: what is left is unknown, or there twice.
    pub(super) fn end(self, at: Place<'_>, hint: &str, findings: &mut Findings) {
        for (key, _) in &self.fields {
            if findings.is_full() {
                // Not worth a suggestion that nobody will read.
                findings.add(at, "unknown_field", "");
                continue;
            }
            if self.known.contains(&key.as_ref()) {
                findings.add(at.key(key), "duplicate_field", "is there more than once");
                continue;
            }
            let near = self.known.iter().find(|known| is_near(known, key));
            let detail = match near {
                Some(known) => format!("is not known; did you mean `{known}`?"),
                None => format!("is not known{hint}"),
            };
            findings.add(at.key(key), "unknown_field", detail);
        }
    }
}

/// Is one the other but for case, separators, or one letter that is wrong, missing,
/// doubled or swapped with its neighbour?
fn is_near(known: &str, given: &str) -> bool {
    if given.len() > known.len() + 2 {
        return false;
    }
    let plain = |text: &str| -> Vec<u8> {
        let bytes = text.bytes().filter(u8::is_ascii_alphanumeric);
        bytes.map(|byte| byte.to_ascii_lowercase()).collect()
    };
    let (known, given) = (plain(known), plain(given));
    let same_start = known.iter().zip(&given).take_while(|(a, b)| a == b).count();
    let (known, given) = (&known[same_start..], &given[same_start..]);
    let (reverse_known, reverse_given) = (known.iter().rev(), given.iter().rev());
    let same_end = reverse_known
        .zip(reverse_given)
        .take_while(|(a, b)| a == b)
        .count();
    let (known, given) = (
        &known[..known.len() - same_end],
        &given[..given.len() - same_end],
    );
    known.len().max(given.len()) <= 1
        || matches!((known, given), ([a, b], [c, d]) if (a, b) == (d, c))
}

/// A value that is there, and where.
#[derive(Clone, Copy)]
pub(super) struct Value<'a, 'p> {
    raw: &'a RawValue,
    at: Place<'p>,
}

impl<'a, 'p> Value<'a, 'p> {
    /// A value at a place that was found otherwise.
    pub(super) const fn new(raw: &'a RawValue, at: Place<'p>) -> Self {
        Self { raw, at }
    }

    /// Where it is.
    pub(super) const fn at(&self) -> Place<'p> {
        self.at
    }

    /// Its JSON text.
    pub(super) fn json(&self) -> &'a str {
        self.raw.get()
    }

    fn wrong_type<T>(&self, wanted: &str, findings: &mut Findings) -> Option<T> {
        let detail = format!("must be {wanted}, not {}", kind(self.raw));
        findings.add(self.at, "wrong_type", detail);
        None
    }

    /// As a string.
    pub(super) fn text(&self, findings: &mut Findings) -> Option<Cow<'a, str>> {
        if !self.json().starts_with('"') {
            return self.wrong_type("a string", findings);
        }
        let Ok(Text(text)) = serde_json::from_str(self.json()) else {
            findings.add(self.at, "invalid_text", "is not valid Unicode");
            return None;
        };
        Some(text)
    }

    /// As a string of at most `max` characters that says something.
    pub(super) fn words(
        &self,
        max: usize,
        too_long: &'static str,
        findings: &mut Findings,
    ) -> Option<Cow<'a, str>> {
        let text = self.text(findings)?;
        let length = text.chars().count();
        if length > max {
            let detail = format!("has {length} characters, at most {max} are allowed");
            findings.add(self.at, too_long, detail);
            return None;
        }
        if text.trim().is_empty() {
            findings.add(self.at, "empty", "must not be empty");
            return None;
        }
        Some(text)
    }

    /// As an id.
    pub(super) fn id<T>(
        &self,
        parse: fn(&str) -> Result<T, IdError>,
        findings: &mut Findings,
    ) -> Option<T> {
        let text = self.text(findings)?;
        let id = parse(&text);
        id.map_err(|error| findings.add(self.at, id_code(&error), error.to_string()))
            .ok()
    }

    /// As a whole number within a range.
    pub(super) fn whole_number(
        &self,
        min: i64,
        max: i64,
        out_of_range: &'static str,
        findings: &mut Findings,
    ) -> Option<i64> {
        if kind(self.raw) != "a number" {
            return self.wrong_type("a whole number", findings);
        }
        let digits = self.json().strip_prefix('-').unwrap_or(self.json());
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            let detail = "must be a whole number, written without a point or an exponent";
            findings.add(self.at, "not_a_whole_number", detail);
            return None;
        }
        // What does not even fit is out of every range.
        let number = self.json().parse().ok();
        let number = number.filter(|number| (min..=max).contains(number));
        if number.is_none() {
            findings.add(
                self.at,
                out_of_range,
                format!("must be from {min} to {max}"),
            );
        }
        number
    }

    /// As a number of any size, by its own text.
    pub(super) fn number(&self, findings: &mut Findings) -> Option<&'a str> {
        if kind(self.raw) != "a number" {
            return self.wrong_type("a number", findings);
        }
        Some(self.json())
    }

    /// As an amount in major units, not below zero. Without a currency, only the type is
    /// looked at.
    pub(super) fn amount(
        &self,
        currency: Option<Currency>,
        findings: &mut Findings,
    ) -> Option<Amount> {
        let token = self.number(findings)?;
        match currency?.parse_amount(token) {
            Ok(amount) if amount.is_negative() => {
                findings.add(self.at, "amount_negative", "must not be below zero");
                None
            }
            Ok(amount) => Some(amount),
            Err(error) => {
                findings.add(self.at, money_code(&error), error.to_string());
                None
            }
        }
    }

    /// As a currency.
    pub(super) fn currency(&self, findings: &mut Findings) -> Option<Currency> {
        let text = self.text(findings)?;
        let currency = Currency::parse(&text);
        currency
            .map_err(|error| findings.add(self.at, money_code(&error), error.to_string()))
            .ok()
    }

    /// As an object.
    pub(super) fn object(&self, findings: &mut Findings) -> Option<Object<'a>> {
        Object::read(self.raw, self.at, findings)
    }

    /// As an array.
    pub(super) fn array(&self, findings: &mut Findings) -> Option<Vec<&'a RawValue>> {
        if !self.json().starts_with('[') {
            return self.wrong_type("an array", findings);
        }
        // The text is known to be valid JSON, and it is an array.
        serde_json::from_str(self.json()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_is_near_to_what_was_meant() {
        for given in [
            "quantitiy",
            "Quantity",
            "quantty",
            "qauntity",
            "quantity_",
            "quantitx",
        ] {
            assert!(is_near("quantity", given), "{given}");
        }
        for given in ["", "qty", "amount", "quantities", &"q".repeat(100_000)] {
            assert!(!is_near("quantity", given), "{given}");
        }
        assert!(is_near("customerId", "customer_id"));
        assert!(is_near("price", "prices"));
    }

    #[test]
    fn pointers_are_escaped() {
        let items = Place::ROOT.key("a/b~c");
        assert_eq!(items.index(3).key("x").to_string(), "/a~1b~0c/3/x");
        assert_eq!(Place::ROOT.to_string(), "");
    }
}
