//! Agents by their programs and by their own word; a table that an operator extends.

use super::*;

fn named(exe: &str, arguments: &[&str]) -> Option<String> {
    let agent = AgentTable::default().by_program(exe, arguments)?;
    assert_eq!(agent.evidence(), AgentEvidence::Executable);
    Some(agent.name().to_owned())
}

fn marked(variables: &[(&str, &str)]) -> Option<String> {
    let find = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    let agent = AgentTable::default().by_variables(find)?;
    assert_eq!(agent.evidence(), AgentEvidence::Asserted);
    Some(agent.name().to_owned())
}

#[test]
fn agents_are_known_by_their_program() {
    let modules = "/usr/lib/node_modules";
    let cases: [(&str, &[&str], Option<&str>); 22] = [
        ("/usr/local/bin/claude", &[], Some("claude-code")),
        ("/home/ci/.local/share/claude/versions/2.0.31", &["-p", "x"], Some("claude-code")),
        (
            "/usr/bin/node",
            &["--no-warnings", &format!("{modules}/@anthropic-ai/claude-code/cli.js")],
            Some("claude-code"),
        ),
        ("/usr/bin/node", &["/usr/local/bin/claude", "-p", "x"], Some("claude-code")),
        ("/home/ci/.local/share/cursor-agent/versions/2025.10/node", &["index.js"], Some("cursor")),
        ("/root/.cursor-server/bin/abc/node", &["out/server-main.js"], Some("cursor")),
        ("/usr/share/cursor/cursor", &[], Some("cursor")),
        ("/opt/codex-x86_64-unknown-linux-musl", &["exec"], Some("codex")),
        ("/usr/bin/node", &[&format!("{modules}/@openai/codex/bin/codex.js")], Some("codex")),
        ("/usr/bin/node22", &[&format!("{modules}/@google/gemini-cli/dist/index.js")], Some("gemini-cli")),
        ("/usr/bin/node", &[&format!("{modules}/@github/copilot/index.js")], Some("copilot")),
        ("/usr/bin/python3.11", &["/home/ci/.local/bin/aider", "--yes"], Some("aider")),
        ("/usr/bin/python3", &["-m", "aider"], Some("aider")),
        ("/usr/bin/python3", &["-m", "mcp_server_snowflake"], Some("mcp-server")),
        (
            "/usr/bin/node",
            &["/x/node_modules/@modelcontextprotocol/server-postgres/dist/index.js"],
            Some("mcp-server"),
        ),
        ("/usr/local/bin/claude (deleted)", &[], Some("claude-code")),
        ("/usr/bin/python3", &["etl.py", "claude"], None),
        ("/usr/bin/python3", &["-c", "claude"], None),
        ("/usr/bin/bash", &["-e", "/runner/_work/_temp/x.sh"], None),
        ("/usr/bin/cat", &["/usr/local/bin/claude"], None),
        ("/srv/cursor/bin/psql", &[], None),
        ("/usr/bin/node", &[], None),
    ];
    for (exe, arguments, expected) in cases {
        assert_eq!(named(exe, arguments).as_deref(), expected, "{exe} {arguments:?}");
    }
}

#[test]
fn a_marker_names_an_agent_on_its_own_word() {
    assert_eq!(marked(&[("CLAUDECODE", "1")]).as_deref(), Some("claude-code"));
    assert_eq!(marked(&[("CURSOR_AGENT", "1"), ("AI_AGENT", "other")]).as_deref(), Some("cursor"));
    assert_eq!(marked(&[("CURSOR_EXTENSION_HOST_ROLE", "agent-exec")]).as_deref(), Some("cursor"));
    assert_eq!(marked(&[("CURSOR_EXTENSION_HOST_ROLE", "worker")]), None);
    assert_eq!(marked(&[("GEMINI_CLI", "")]), None, "an empty one does not count");
    assert_eq!(marked(&[("PATH", "/usr/local/bin/claude")]), None);
    assert_eq!(marked(&[("AI_AGENT", "Devin@1")]).as_deref(), Some("devin@1"));
    for hostile in ["a b", "x\u{1b}[2J", "\"", &"x".repeat(65)] {
        assert_eq!(marked(&[("AI_AGENT", hostile)]).as_deref(), Some("unnamed"), "{hostile:?}");
    }
    let table = AgentTable::default();
    assert!(table.asks_for("CLAUDECODE") && table.asks_for("AI_AGENT") && !table.asks_for("PATH"));
}

#[test]
fn an_operator_adds_agents_and_replaces_those_that_ship() {
    let own = |name, executables: &[&str]| AgentKind::new(name, executables, &[], &[]).unwrap();
    let table = AgentTable::default().extended(vec![own("bot", &["acme-bot"]), own("aider", &["our-aider"])]);
    let name = |exe| table.by_program(exe, &[]).map(|agent| agent.name().to_owned());
    assert_eq!(name("/opt/acme-bot").as_deref(), Some("bot"));
    assert_eq!(name("/opt/our-aider").as_deref(), Some("aider"));
    assert_eq!(name("/opt/aider"), None);
    assert_eq!(name("/opt/claude").as_deref(), Some("claude-code"));
    assert_eq!(table.names().filter(|name| *name == "aider").count(), 1);
}

#[test]
fn what_is_no_entry_is_refused() {
    let none: &[&str] = &[];
    assert!(matches!(AgentKind::new("", &["x"], none, none), Err(AgentKindError::Name(_))));
    assert!(matches!(AgentKind::new("a b", &["x"], none, none), Err(AgentKindError::Name(_))));
    assert!(matches!(AgentKind::new("a", none, none, none), Err(AgentKindError::Nothing(_))));
    assert!(matches!(AgentKind::new("a", &[""], none, none), Err(AgentKindError::Pattern { .. })));
    for bad in ["", "=1", "A-B", "A=", "Ä"] {
        let kind = AgentKind::new("a", none, none, &[bad]);
        assert!(matches!(kind, Err(AgentKindError::Variable { .. })), "{bad}");
    }
}

#[test]
fn a_job_keeps_its_first_agent_unless_another_rests_on_more() {
    let agent = |name: &str, evidence| Agent { name: name.to_owned(), evidence };
    let (asserted, executable) = (agent("a", AgentEvidence::Asserted), agent("b", AgentEvidence::Executable));
    assert_eq!(asserted.clone().or_better(executable.clone()), executable);
    assert_eq!(executable.clone().or_better(asserted.clone()), executable);
    assert_eq!(asserted.clone().or_better(agent("c", AgentEvidence::Asserted)), asserted);
}
