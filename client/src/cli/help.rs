//! The help of the whole command: its commands by what they are for.

use clap::Command;

/// What commands are for, in the order in which a newcomer wants them.
const GROUPS: [(&str, &[&str]); 4] = [
    ("Use", &["chat", "compare", "models", "providers", "capabilities"]),
    (
        "Administer",
        &[
            "keys",
            "accounts",
            "routes",
            "presets",
            "workflows",
            "resolve",
            "usage",
            "attempts",
            "audit",
            "doctor",
        ],
    ),
    ("Run a server", &["serve", "config"]),
    ("This command", &["profile", "completions", "help"]),
];
/// Columns of the longest name.
const WIDTH: usize = 12;

/// The command with its commands in groups. Those that are in none come last.
pub fn grouped(mut command: Command) -> Command {
    command.build();
    let style = command.get_styles().clone();
    let (head, name) = (style.get_header(), style.get_literal());
    let mut groups = String::new();
    let known: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    let rest = command.get_subcommands().map(Command::get_name);
    let rest: Vec<&str> = rest.filter(|one| !known.contains(one)).collect();
    let all =
        GROUPS.iter().map(|(title, names)| (*title, *names)).chain([("Other", rest.as_slice())]);
    for (title, names) in all.filter(|(_, names)| !names.is_empty()) {
        groups.push_str(&format!("\n{head}{title}:{head:#}\n"));
        for one in names.iter().filter_map(|one| command.find_subcommand(one)) {
            let about = one.get_about().map(ToString::to_string).unwrap_or_default();
            groups.push_str(&format!("  {name}{:WIDTH$}{name:#}  {about}\n", one.get_name()));
        }
    }
    command.help_template(format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n{groups}\n{head}Options:{head:#}\n{{options}}"
    ))
}
