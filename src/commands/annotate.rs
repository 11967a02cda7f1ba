//! `trainyard annotate`, `archive`, `unarchive`, `delete`, `restore` and `projects`: what people note on runs, and which of them lists
//! show.

use std::collections::BTreeMap;
use std::process::ExitCode;

use trainyard_wire::RunId;
use trainyard_wire::annotation::{ActOutcome, ActedRun, BulkAction, RunPatch, RunsActed, RunsAction};

use super::each::each_run;
use crate::connection::{Connection, ConnectionArgs};
use crate::context::Context;
use crate::failure::REFUSED;
use crate::terminal::table::Table;
use crate::terminal::{format, plain, print, print_json};

#[derive(Debug, clap::Args)]
pub(crate) struct AnnotateArgs {
    #[arg(required_unless_present = "matching", value_name = "RUN")]
    runs: Vec<RunId>,
    /// Instead of RUN: all runs that a query of the list matches, such as state=failed&project=rates; takes --tag and --untag
    #[arg(long, value_name = "QUERY", conflicts_with_all = ["runs", "name", "project", "no_project", "notes"])]
    matching: Option<String>,
    /// What the runs are called
    #[arg(long)]
    name: Option<String>,
    /// The project that they belong to
    #[arg(long, conflicts_with = "no_project")]
    project: Option<String>,
    /// In no project, whatever their job says
    #[arg(long)]
    no_project: bool,
    /// What there is to say about them; an empty text takes the notes away
    #[arg(long)]
    notes: Option<String>,
    /// Set a tag
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = tag)]
    tags: Vec<(String, String)>,
    /// Take a tag away
    #[arg(long, value_name = "NAME")]
    untag: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

/// `NAME=VALUE`, or `NAME` alone with an empty value.
pub(super) fn tag(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    if name.is_empty() { Err("needs a name before the `=`".to_owned()) } else { Ok((name.to_owned(), value.to_owned())) }
}

impl AnnotateArgs {
    fn patch(&self) -> RunPatch {
        let set = self.tags.iter().map(|(name, value)| (name.clone(), Some(value.clone())));
        let tags: BTreeMap<_, _> = set.chain(self.untag.iter().map(|name| (name.clone(), None))).collect();
        RunPatch {
            name: self.name.clone().map(Some),
            project: if self.no_project { Some(None) } else { self.project.clone().map(Some) },
            notes: self.notes.clone().map(|notes| Some(notes).filter(|notes| !notes.is_empty())),
            tags: Some(tags).filter(|tags| !tags.is_empty()),
            archived: None,
        }
    }

    /// Notes it on each run in turn; one that cannot be found does not keep the others from it.
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let client = self.connection.client(context)?;
        let patch = self.patch();
        if patch == RunPatch::default() {
            return Err(crate::UsageError("nothing to note: --name, --project, --notes, --tag or --untag says what".to_owned()).into());
        }
        if self.matching.is_some() {
            let tags = patch.tags.unwrap_or_default();
            let asked = RunsAction { action: BulkAction::Tag, runs: None, matching: self.matching, tags };
            return tell_each(&client.act_on_runs(&asked).await?, asked.action, context);
        }
        each_run(&self.runs, async |id| client.patch_run(id, &patch).await, format::labels, context).await
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct ShelveArgs {
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<RunId>,
    #[command(flatten)]
    connection: Connection,
}

impl ShelveArgs {
    /// Does it to all that are named, in one request; exit code 4 where one of them refuses or does not exist.
    pub(crate) async fn run(self, action: BulkAction, context: &Context) -> anyhow::Result<ExitCode> {
        let asked = RunsAction::on(action, self.runs);
        let acted = self.connection.client(context)?.act_on_runs(&asked).await?;
        let code = tell_each(&acted, action, context)?;
        if action == BulkAction::Delete && !context.json() && acted.outcomes.iter().any(|run| run.outcome == ActOutcome::Done) {
            print("`trainyard restore` brings deleted runs back for 7 days")?;
        }
        Ok(code)
    }
}

/// Prints what became of each run; answers the exit code.
fn tell_each(acted: &RunsActed, action: BulkAction, context: &Context) -> anyhow::Result<ExitCode> {
    let is_refused = |run: &ActedRun| matches!(run.outcome, ActOutcome::Refused | ActOutcome::Missing);
    if context.json() {
        print_json(acted)?;
    } else {
        for run in &acted.outcomes {
            let line = format!("run {}: {}", run.run_id, told(action, run));
            if is_refused(run) { eprintln!("error: {}", plain(&line)) } else { print(&line)? }
        }
        if acted.outcomes.is_empty() {
            print("no run matches")?;
        }
    }
    Ok(if acted.outcomes.iter().any(is_refused) { ExitCode::from(REFUSED) } else { ExitCode::SUCCESS })
}

fn told(action: BulkAction, run: &ActedRun) -> String {
    let done = match action {
        BulkAction::Archive => "archived",
        BulkAction::Unarchive => "no longer archived",
        BulkAction::Delete => "deleted",
        BulkAction::Restore => "restored",
        BulkAction::Tag => "tagged so",
        other => other.as_str(),
    };
    match run.outcome {
        ActOutcome::Done => done.to_owned(),
        ActOutcome::Unchanged => format!("already {done}"),
        ActOutcome::Refused => run.detail.clone().unwrap_or_else(|| "refused".to_owned()),
        ActOutcome::Missing => "there is no such run".to_owned(),
    }
}

/// Lists the projects.
pub(crate) async fn projects(args: ConnectionArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let page = args.connection.client(context)?.projects().await?;
    context.answer(&page, |page| {
        let mut table = Table::new(&["PROJECT", "RUNS", "STATES", "ARCHIVED"]);
        for project in &page.items {
            let (runs, archived) = (project.run_count.to_string(), project.archived_count.to_string());
            table.row([project.name.clone(), runs, format::states(&project.states), archived]);
        }
        table
    })?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: AnnotateArgs,
    }

    fn patch(words: &[&str]) -> String {
        let line = Line::try_parse_from(["annotate", "1"].iter().chain(words)).unwrap_or_else(|error| panic!("{error}"));
        serde_json::to_string(&line.args.patch()).unwrap_or_default()
    }

    #[test]
    fn flags_become_a_merge_patch_of_what_they_name() {
        assert_eq!(patch(&["--tag", "a=b=c", "--tag", "d", "--untag", "e"]), r#"{"tags":{"a":"b=c","d":"","e":null}}"#);
        assert_eq!(patch(&["--project", "p", "--notes", ""]), r#"{"project":"p","notes":null}"#);
        assert_eq!(patch(&["--no-project", "--name", "n"]), r#"{"name":"n","project":null}"#);
        assert_eq!(patch(&[]), "{}");
        assert!(Line::try_parse_from(["annotate", "1", "--tag", "=x"]).is_err());
    }

    #[test]
    fn all_that_match_are_tagged_and_nothing_else() {
        let parses = |words: &[&str]| Line::try_parse_from(["annotate"].iter().chain(words)).is_ok();
        assert!(parses(&["--matching", "state=failed", "--tag", "a", "--untag", "b"]));
        for more in [["--name", "n"], ["--notes", "n"], ["--project", "p"]] {
            assert!(!parses(&["--matching", "state=failed", more[0], more[1]]), "{more:?}");
        }
        assert!(!parses(&["1", "--matching", "", "--tag", "a"]) && !parses(&["--tag", "a"]));
    }
}
