//! What is wrong with a topology file, as data, and the way it is shown.
//!
//! Both stages that read files, `document` and `topology`, report values of [`Problem`]; the command
//! line turns each into a [`Report`], which `miette` draws: file, line and column, the line itself
//! with a mark under the spot, and how to mend it.

use std::fmt;
use std::sync::Arc;

use miette::{
    Diagnostic, LabeledSpan, MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents,
};

use crate::source::{Origin, SourceFile};

/// Something in a topology file that must be mended before the file can be loaded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// What is wrong and with which object: lower case, no full stop.
    pub message: String,
    /// How to mend it.
    pub help: Option<String>,
    /// The places concerned; the first is where the problem is, the others explain it.
    pub labels: Vec<Label>,
}

/// A place in a file and what it has to do with the problem.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Label {
    /// The place.
    pub origin: Origin,
    /// What is to be seen there.
    pub text: String,
}

impl Problem {
    /// A problem with this message, and no place yet.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: None,
            labels: Vec::new(),
        }
    }

    /// Adds a place; the first one added is the primary one.
    #[must_use]
    pub fn at(mut self, origin: &Origin, text: impl Into<String>) -> Self {
        self.labels.push(Label {
            origin: origin.clone(),
            text: text.into(),
        });
        self
    }

    /// Says how to mend it.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }

    /// Where the problem is.
    #[must_use]
    pub fn origin(&self) -> Option<&Origin> {
        self.labels.first().map(|label| &label.origin)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = self.origin() {
            write!(f, "{origin}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

/// All problems of one attempt, as one error.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (idx, problem) in self.0.iter().enumerate() {
            if idx > 0 {
                writeln!(f)?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// A [`Problem`] in the form that `miette` draws.
///
/// `miette` draws one file per diagnostic: the labels in other files than the first become related
/// diagnostics of their own.
#[derive(Debug)]
pub struct Report {
    message: String,
    help: Option<String>,
    text: Option<Text>,
    spans: Vec<LabeledSpan>,
    elsewhere: Vec<Report>,
    severity: miette::Severity,
}

impl From<Problem> for Report {
    fn from(problem: Problem) -> Self {
        Self::of(problem, miette::Severity::Error)
    }
}

impl Report {
    /// A problem that prevents nothing.
    #[must_use]
    pub fn warning(problem: Problem) -> Self {
        Self::of(problem, miette::Severity::Warning)
    }

    fn of(problem: Problem, severity: miette::Severity) -> Self {
        let mut report = Self {
            message: problem.message,
            help: problem.help,
            text: None,
            spans: Vec::new(),
            elsewhere: Vec::new(),
            severity,
        };
        for label in problem.labels {
            report.add(label);
        }
        report
    }

    /// Puts a label where its file is drawn.
    fn add(&mut self, label: Label) {
        let file = &label.origin.file;
        let here = self.text.get_or_insert_with(|| Text(Arc::clone(file)));
        if Arc::ptr_eq(&here.0, file) {
            self.spans.push(span(&label, self.spans.is_empty()));
            return;
        }
        let drawn = |report: &&mut Self| {
            let text = report.text.as_ref();
            text.is_some_and(|text| Arc::ptr_eq(&text.0, file))
        };
        if let Some(other) = self.elsewhere.iter_mut().find(drawn) {
            other.spans.push(span(&label, false));
            return;
        }
        self.elsewhere.push(Self {
            message: format!("the other place is in {}", file.path),
            help: None,
            text: Some(Text(Arc::clone(file))),
            spans: vec![span(&label, true)],
            elsewhere: Vec::new(),
            severity: miette::Severity::Advice,
        });
    }
}

/// The label as `miette` has it, kept within the text whatever the parser said.
fn span(label: &Label, primary: bool) -> LabeledSpan {
    let text = &label.origin.file.text;
    let start = label.origin.offset.min(text.len());
    let end = start.saturating_add(label.origin.len).min(text.len());
    let span = SourceSpan::from(start..end);
    let text = Some(label.text.clone());
    if primary {
        LabeledSpan::new_primary_with_span(text, span)
    } else {
        LabeledSpan::new_with_span(text, span)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Report {}

impl Diagnostic for Report {
    fn severity(&self) -> Option<miette::Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let help = self.help.as_ref()?;
        Some(Box::new(help))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        let text = self.text.as_ref()?;
        Some(text)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.spans.iter().cloned()))
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        if self.elsewhere.is_empty() {
            return None;
        }
        let related = self.elsewhere.iter();
        Some(Box::new(
            related.map(|report| -> &dyn Diagnostic { report }),
        ))
    }
}

/// A file's text under the file's path, without a copy of either.
#[derive(Debug)]
struct Text(Arc<SourceFile>);

impl SourceCode for Text {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        context_lines_before: usize,
        context_lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let found = self
            .0
            .text
            .read_span(span, context_lines_before, context_lines_after)?;
        Ok(Box::new(MietteSpanContents::new_named(
            self.0.path.clone(),
            found.data(),
            *found.span(),
            found.line(),
            found.column(),
            found.line_count(),
        )))
    }
}

#[cfg(test)]
pub(crate) mod listing {
    //! Problems as text, for tests that say everything about them.

    use super::Problem;
    use std::fmt::Write;

    /// One line for the message, one for each label with its line and column, one for the help.
    pub(crate) fn listing(problems: &[Problem]) -> String {
        let mut text = String::new();
        for problem in problems {
            writeln!(text, "{}", problem.message).unwrap();
            for label in &problem.labels {
                let origin = &label.origin;
                let (line, column) = (origin.line, origin.column);
                writeln!(text, "  {line}:{column} {}", label.text).unwrap();
            }
            if let Some(help) = &problem.help {
                writeln!(text, "  help: {help}").unwrap();
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use miette::{GraphicalReportHandler, GraphicalTheme, ThemeCharacters, ThemeStyles};

    use super::*;
    use crate::document::parse;
    use crate::topology::compile;

    fn rendered(problem: &Problem) -> String {
        let theme = GraphicalTheme {
            characters: ThemeCharacters::ascii(),
            styles: ThemeStyles::none(),
        };
        let mut text = String::new();
        GraphicalReportHandler::new_themed(theme)
            .with_width(100)
            .without_syntax_highlighting()
            .render_report(&mut text, &Report::from(problem.clone()))
            .unwrap();
        text
    }

    fn problem(files: &[(&str, &str)]) -> Problem {
        let documents: Vec<_> = files
            .iter()
            .map(|(path, text)| parse(path, text).unwrap())
            .collect();
        compile(&documents).unwrap_err().remove(0)
    }

    const WEB: &str = "version: 1
name: web
networks:
  front: 10.1.0.0/24
workloads:
  web:
    ports:
      - { network: front, addresses: 10.1.0.10 }
";

    #[test]
    fn a_report_shows_line_mark_and_help() {
        let text = WEB.replace("network: front", "network: frnt");
        assert_eq!(
            rendered(&problem(&[("shop.yaml", &text)])),
            "  x port web/eth0 is on network frnt, which does not exist
   ,-[shop.yaml:8:20]
 7 |     ports:
 8 |       - { network: frnt, addresses: 10.1.0.10 }
   :                    ^^|^
   :                      `-- no network has this name
   `----
  help: did you mean `front`?
"
        );
    }

    #[test]
    fn a_warning_is_drawn_as_one() {
        let report = Report::warning(Problem::new("router core has no ports"));
        assert_eq!(report.severity(), Some(miette::Severity::Warning));
    }

    #[test]
    fn a_report_shows_both_files() {
        let text = "version: 1\nname: db\nworkloads:\n  db: { ports: [{ network: front, addresses: 10.1.0.10 }] }\n";
        assert_eq!(
            rendered(&problem(&[("web.yaml", WEB), ("db.yaml", text)])),
            "  x address 10.1.0.10 in network front belongs to both port web/eth0 of source web and port db/
  | eth0 of source db
   ,-[db.yaml:4:46]
 3 | workloads:
 4 |   db: { ports: [{ network: front, addresses: 10.1.0.10 }] }
   :                                              ^^^^|^^^^
   :                                                  `-- port db/eth0 has it too
   `----
  help: give each port an address of its own

Advice: 
  > the other place is in web.yaml
   ,-[web.yaml:8:38]
 7 |     ports:
 8 |       - { network: front, addresses: 10.1.0.10 }
   :                                      ^^^^|^^^^
   :                                          `-- port web/eth0 has it
   `----
"
        );
    }

    #[test]
    fn a_place_beyond_the_text_is_still_shown() {
        let mut problem = problem(&[("shop.yaml", &WEB.replace("network: front", "network: x"))]);
        problem.labels[0].origin.offset = usize::MAX;
        problem.labels[0].origin.len = usize::MAX;
        assert!(rendered(&problem).contains("which does not exist"));
    }
}
