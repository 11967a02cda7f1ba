//! `trainyard completions` and `trainyard man`: made from the command line itself.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;

use super::CommandLine;
use crate::terminal::print;

#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// The shell; its own manual says where its completions belong (bash: source <(trainyard completions bash))
    shell: Shell,
}

impl CompletionsArgs {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut CommandLine::command(), "trainyard", &mut script);
        print(&String::from_utf8(script)?)?;
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// Write the pages of all commands into this folder; without it, trainyard(1) goes to standard output
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
}

impl ManArgs {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self.output {
            Some(folder) => {
                std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
                clap_mangen::generate_to(CommandLine::command(), &folder)
                    .with_context(|| format!("cannot write into {}", folder.display()))?;
            }
            None => {
                let mut page = Vec::new();
                clap_mangen::Man::new(CommandLine::command()).render(&mut page)?;
                print(&String::from_utf8(page)?)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
