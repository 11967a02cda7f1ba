//! Reading the filter language, word by word.

use super::{Comparison, Field, FilterError, LONGEST, Target, Test, error};

/// The text that is left to read.
pub(super) struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a str) -> Result<Self, FilterError> {
        if text.len() > LONGEST {
            return Err(error(format!("a filter has at most {LONGEST} bytes")));
        }
        Ok(Self { rest: text.trim() })
    }

    pub(super) fn at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// The beginning of what is left, for an error.
    pub(super) fn rest(&self) -> String {
        self.rest.chars().take(40).collect()
    }

    pub(super) fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default().trim_start();
    }

    /// Takes a word if it comes next, in any case.
    pub(super) fn keyword(&mut self, word: &str) -> bool {
        let found = self.rest.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word));
        let ends = self.rest.get(word.len()..).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'));
        if found && ends {
            self.skip(word.len());
        }
        found && ends
    }

    pub(super) fn symbol(&mut self, symbol: &str) -> bool {
        let found = self.rest.starts_with(symbol);
        if found {
            self.skip(symbol.len());
        }
        found
    }

    /// `family.key`, or the name of an attribute.
    pub(super) fn field(&mut self, target: Target) -> Result<Field, FilterError> {
        let word = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (family, rest) = self.rest.split_at(word);
        if let Some(rest) = rest.strip_prefix('.') {
            if family.is_empty() {
                return Err(error(format!("a field has a family and a name, and here stands `{}`", self.rest())));
            }
            self.rest = rest;
            let key = self.key()?;
            return target.field(family, key);
        }
        if family.is_empty() && !rest.starts_with(['"', '`']) {
            return Err(error(format!("a field is expected where `{}` stands", self.rest())));
        }
        let name = self.key()?;
        target.attribute(&name)
    }

    /// A name, bare or in double quotes or backticks.
    pub(super) fn key(&mut self) -> Result<String, FilterError> {
        if let Some(quote @ ('"' | '`')) = self.rest.chars().next() {
            return self.quoted(quote);
        }
        let end = self.rest.find(|c: char| c.is_whitespace() || matches!(c, '=' | '!' | '<' | '>' | '(' | ')' | ',' | '\'' | '"' | '`'));
        let (key, _) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        if key.is_empty() {
            return Err(error(format!("a name is expected where `{}` stands", self.rest())));
        }
        self.skip(key.len());
        Ok(key.to_owned())
    }

    /// A text in quotes; a doubled quote stands for one.
    pub(super) fn quoted(&mut self, quote: char) -> Result<String, FilterError> {
        let mut text = String::new();
        let mut characters = self.rest.char_indices().skip(1).peekable();
        while let Some((place, character)) = characters.next() {
            if character != quote {
                text.push(character);
            } else if characters.peek().is_some_and(|(_, next)| *next == quote) {
                characters.next();
                text.push(quote);
            } else {
                self.skip(place + quote.len_utf8());
                return Ok(text);
            }
        }
        Err(error(format!("a quote is not closed: `{}`", self.rest())))
    }

    pub(super) fn text(&mut self) -> Result<String, FilterError> {
        match self.rest.chars().next() {
            Some(quote @ ('\'' | '"')) => self.quoted(quote),
            _ => Err(error(format!("a text in quotes is expected where `{}` stands", self.rest()))),
        }
    }

    pub(super) fn number(&mut self) -> Result<f64, FilterError> {
        let end = self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-'))).unwrap_or(self.rest.len());
        let (text, _) = self.rest.split_at(end);
        let number = text.parse().map_err(|_| error(format!("a number is expected where `{}` stands", self.rest())))?;
        self.skip(end);
        Ok(number)
    }

    pub(super) fn texts(&mut self) -> Result<Vec<String>, FilterError> {
        if !self.symbol("(") {
            return Err(error("IN is followed by texts in parentheses"));
        }
        let mut texts = vec![self.text()?];
        while self.symbol(",") {
            texts.push(self.text()?);
        }
        if !self.symbol(")") {
            return Err(error(format!("a list ends with a parenthesis, and here stands `{}`", self.rest())));
        }
        Ok(texts)
    }

    pub(super) fn test(&mut self, field: &Field) -> Result<Test, FilterError> {
        if self.keyword("is") {
            let not = self.keyword("not");
            let null = self.keyword("null");
            return match (null, not) {
                (true, true) => Ok(Test::IsNotNull),
                (true, false) => Ok(Test::IsNull),
                _ => Err(error("IS is followed by NULL or NOT NULL")),
            };
        }
        if field.is_number() {
            let comparison = self
                .comparison()
                .ok_or_else(|| error(format!("numbers are compared by =, !=, <, <=, > or >=, and here stands `{}`", self.rest())))?;
            return Ok(Test::Compare(comparison, self.number()?));
        }
        if self.keyword("like") {
            return Ok(Test::Like(self.text()?.chars().collect()));
        }
        if self.keyword("ilike") {
            return Ok(Test::ILike(self.text()?.to_lowercase().chars().collect()));
        }
        if self.keyword("in") {
            return Ok(Test::In(self.texts()?));
        }
        if self.keyword("not") {
            return if self.keyword("in") { Ok(Test::NotIn(self.texts()?)) } else { Err(error("NOT is followed by IN")) };
        }
        match self.comparison() {
            Some(Comparison::Equal) => Ok(Test::Equals(self.text()?)),
            Some(Comparison::NotEqual) => Ok(Test::Differs(self.text()?)),
            _ => Err(error("texts are compared by =, !=, LIKE, ILIKE, IN, NOT IN or IS NULL")),
        }
    }

    pub(super) fn comparison(&mut self) -> Option<Comparison> {
        let known = [
            ("!=", Comparison::NotEqual),
            ("<>", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("=", Comparison::Equal),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        known.into_iter().find(|(symbol, _)| self.symbol(symbol)).map(|(_, comparison)| comparison)
    }
}
