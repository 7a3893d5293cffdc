//! Label selectors, as kubectl reads them: `a=b`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b)`, `a`, `!a`, `a>1`, `a<9`.
//!
//! Owns the grammar of Kubernetes' `labels.Parse` and what each form means for a label that is missing. Pure.

use std::collections::{BTreeMap, BTreeSet};

/// The longest name part of a key, and the longest value.
const MOST: usize = 63;
/// The longest prefix of a key.
const PREFIX_MOST: usize = 253;

/// What labels must fulfil, all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector(Vec<(String, Test)>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    Exists,
    Missing,
    In(BTreeSet<String>),
    /// A label that is missing has none of these values either.
    NotIn(BTreeSet<String>),
    Above(i64),
    Below(i64),
}

impl Selector {
    /// Reads a selector; the error says which part cannot be read.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut tokens = Tokens { text, rest: text };
        let mut tests = Vec::new();
        loop {
            tests.push(tokens.requirement()?);
            match tokens.next() {
                Token::End => return Ok(Self(tests)),
                Token::Sign(",") => {}
                other => return Err(tokens.unread(other, "a comma or the end")),
            }
        }
    }

    /// Whether these labels fulfil it.
    pub fn takes(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|(key, test)| {
            let value = labels.get(key);
            let number = || value.and_then(|value| value.parse::<i64>().ok());
            match test {
                Test::Exists => value.is_some(),
                Test::Missing => value.is_none(),
                Test::In(values) => value.is_some_and(|value| values.contains(value)),
                Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
                Test::Above(bound) => number().is_some_and(|number| number > *bound),
                Test::Below(bound) => number().is_some_and(|number| number < *bound),
            }
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Sign(&'a str),
    End,
}

struct Tokens<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    fn next(&mut self) -> Token<'a> {
        self.rest = self.rest.trim_start();
        let sign = ["==", "!=", "=", "!", "(", ")", ",", "<", ">"].into_iter().find(|sign| self.rest.starts_with(sign));
        let ends = |character: char| character.is_whitespace() || "=!(),<>".contains(character);
        let length = match sign {
            Some(sign) => sign.len(),
            None => self.rest.find(ends).unwrap_or(self.rest.len()),
        };
        let (token, rest) = self.rest.split_at(length);
        self.rest = rest;
        match sign {
            _ if token.is_empty() => Token::End,
            Some(_) => Token::Sign(token),
            None => Token::Word(token),
        }
    }

    fn peek(&self) -> Token<'a> {
        Self { text: self.text, rest: self.rest }.next()
    }

    fn unread(&self, found: Token<'_>, wanted: &str) -> String {
        match found {
            Token::End => format!("invalid label selector {:?}: expected {wanted}, found the end", self.text.trim()),
            Token::Word(token) | Token::Sign(token) => {
                format!("invalid label selector {:?}: expected {wanted}, found {token:?}", self.text.trim())
            }
        }
    }

    fn requirement(&mut self) -> Result<(String, Test), String> {
        match self.next() {
            Token::Sign("!") => Ok((self.key()?, Test::Missing)),
            Token::Word(key) => {
                let key = self.checked_key(key)?;
                Ok((key, self.test()?))
            }
            other => Err(self.unread(other, "a label")),
        }
    }

    fn key(&mut self) -> Result<String, String> {
        match self.next() {
            Token::Word(key) => self.checked_key(key),
            other => Err(self.unread(other, "a label")),
        }
    }

    fn test(&mut self) -> Result<Test, String> {
        match self.peek() {
            Token::End | Token::Sign(",") => Ok(Test::Exists),
            Token::Sign("=" | "==") => {
                self.next();
                Ok(Test::In([self.value()?].into()))
            }
            Token::Sign("!=") => {
                self.next();
                Ok(Test::NotIn([self.value()?].into()))
            }
            Token::Sign(sign @ ("<" | ">")) => {
                self.next();
                let bound = match self.next() {
                    Token::Word(word) => word.parse().map_err(|_| self.unread(Token::Word(word), "a whole number"))?,
                    other => return Err(self.unread(other, "a whole number")),
                };
                Ok(if sign == ">" { Test::Above(bound) } else { Test::Below(bound) })
            }
            Token::Word("in") => {
                self.next();
                Ok(Test::In(self.values()?))
            }
            Token::Word("notin") => {
                self.next();
                Ok(Test::NotIn(self.values()?))
            }
            other => Err(self.unread(other, "=, ==, !=, in, notin, <, > or a comma")),
        }
    }

    /// One value, which may be empty.
    fn value(&mut self) -> Result<String, String> {
        match self.peek() {
            Token::Word(word) => {
                self.next();
                self.checked_value(word)
            }
            Token::End | Token::Sign(",") => Ok(String::new()),
            other @ Token::Sign(_) => Err(self.unread(other, "a value")),
        }
    }

    /// As in `(a, b)`.
    fn values(&mut self) -> Result<BTreeSet<String>, String> {
        let mut values = BTreeSet::new();
        match self.next() {
            Token::Sign("(") => {}
            other => return Err(self.unread(other, "a list in parentheses")),
        }
        loop {
            let value = match self.peek() {
                Token::Word(word) => {
                    self.next();
                    self.checked_value(word)?
                }
                _ => String::new(),
            };
            values.insert(value);
            match self.next() {
                Token::Sign(",") => {}
                Token::Sign(")") => return Ok(values),
                other => return Err(self.unread(other, "a comma or )")),
            }
        }
    }

    fn checked_key(&self, key: &str) -> Result<String, String> {
        let (prefix, name) = key.rsplit_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
        let domain = |prefix: &str| {
            let part = |part: &str| {
                let small = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
                !part.is_empty() && part.bytes().all(small) && !part.starts_with('-') && !part.ends_with('-')
            };
            prefix.len() <= PREFIX_MOST && prefix.split('.').all(part)
        };
        if is_name(name) && !name.is_empty() && prefix.is_none_or(domain) {
            return Ok(key.to_owned());
        }
        Err(format!("invalid label selector {:?}: {key:?} is not a label", self.text.trim()))
    }

    fn checked_value(&self, value: &str) -> Result<String, String> {
        if is_name(value) {
            return Ok(value.to_owned());
        }
        Err(format!("invalid label selector {:?}: {value:?} is not a label value", self.text.trim()))
    }
}

/// Letters, digits, `-`, `_` and `.`, with a letter or digit at both ends; or nothing.
fn is_name(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let end = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= MOST && text.bytes().all(inside) && end(bytes.first()) && end(bytes.last())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn takes(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Selector::parse(selector).expect(selector).takes(&labels)
    }

    #[test]
    fn every_form_that_kubectl_has() {
        let labels = [("zone", "1a"), ("topology.kubernetes.io/zone", "eu-west-1a"), ("cores", "8"), ("empty", "")];
        for fulfilled in [
            "zone",
            "zone=1a",
            "zone==1a",
            "zone = 1a , cores",
            "zone in (1a)",
            "zone in (1b, 1a)",
            "zone in(1a)",
            "zone notin (1b,1c)",
            "gone notin (1b)",
            "zone!=1b",
            "gone!=1b",
            "!gone",
            "! gone",
            "topology.kubernetes.io/zone in (eu-west-1a),!gone,zone!=1b",
            "cores>4",
            "cores < 9",
            "empty=",
            "empty in (,x)",
            "empty=,zone",
        ] {
            assert!(takes(fulfilled, &labels), "{fulfilled}");
        }
        for not in [
            "gone",
            "zone=1b",
            "zone in (1b)",
            "zone notin (1a)",
            "zone!=1a",
            "!zone",
            "cores>8",
            "zone>1",
            "gone<9",
            "zone=",
            "zone,gone",
        ] {
            assert!(!takes(not, &labels), "{not}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_said_with_the_part() {
        for (selector, part) in [
            ("a in b", "expected a list in parentheses, found \"b\""),
            ("a in (b", "expected a comma or ), found the end"),
            ("a b", "found \"b\""),
            ("a=b=c", "expected a comma or the end, found \"=\""),
            ("=b", "expected a label, found \"=\""),
            ("a,", "expected a label, found the end"),
            ("!", "expected a label, found the end"),
            ("a>b", "expected a whole number, found \"b\""),
            ("a=$x", "\"$x\" is not a label value"),
            ("-a", "\"-a\" is not a label"),
            ("a/b/c", "\"a/b/c\" is not a label"),
            ("", "expected a label, found the end"),
            ("a=(b)", "expected a value, found \"(\""),
        ] {
            let error = Selector::parse(selector).expect_err(selector);
            assert!(error.contains("invalid label selector") && error.contains(part), "{selector}: {error}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_typed_is_read_or_refused(text in "[a-z=!(),<> /.\u{e9}-]{0,24}") {
            // Neither must panic or hang.
            drop(Selector::parse(&text));
        }
    }
}
