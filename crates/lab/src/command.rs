//! Running a program to its end and looking at how it ended.
//!
//! Promises: a program that fails or is missing becomes one error that holds the command and what it said on
//! standard error. Nothing it prints reaches our own terminal.
//! Does not know: namespaces; a [`std::process::Command`] that enters one is made by [`crate::Namespace::command`].

use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// Runs `command` to its end and returns its standard output as text.
///
/// Errors: the program is missing, or its exit status is not 0.
pub fn run(command: &mut Command) -> Result<String> {
    let output = output(command)?;
    if !output.status.success() {
        bail!(
            "`{}` ended with {}: {}",
            shown(command),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs `command` to its end, whatever its exit status; for programs whose failure is what is looked for.
///
/// Errors: the program cannot be started.
pub fn output(command: &mut Command) -> Result<Output> {
    command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("`{}` cannot be started; is it installed?", shown(command)))
}

/// Runs `ip` with the words of `arguments`, which holds no quoting: `ip("link set lo up")`.
pub fn ip(arguments: &str) -> Result<String> {
    run(Command::new("ip").args(arguments.split_whitespace()))
}

/// The command as a person would type it.
pub fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(
        command
            .get_args()
            .map(|word| word.to_string_lossy().into_owned()),
    );
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_is_an_error_with_its_own_words() {
        let error =
            run(Command::new("sh").args(["-c", "echo no such luck >&2; exit 3"])).unwrap_err();
        assert!(error.to_string().contains("no such luck"), "{error}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&mut Command::new("weir-lab-no-such-program")).unwrap_err();
        assert!(
            error.to_string().contains("weir-lab-no-such-program"),
            "{error}"
        );
    }
}
