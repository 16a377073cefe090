//! The agents that ship with the program. Sources: the files that their packages install on Linux, and the variables
//! that their own documentation, or the detection that other tools publish (`@vercel/detect-agent`, `std-env`), names.

use super::AgentKind;

/// Name, executables, scripts, variables.
type Row = (&'static str, &'static [&'static str], &'static [&'static str], &'static [&'static str]);

const TABLE: &[Row] = &[
    (
        "claude-code",
        &["claude", "**/claude/versions/*", "claude-code"],
        &["claude", "**/@anthropic-ai/claude-code/**"],
        &["CLAUDECODE", "CLAUDE_CODE", "CLAUDE_CODE_ENTRYPOINT"],
    ),
    (
        "cursor",
        &["cursor", "cursor-agent", "**/cursor-agent/**", "**/.cursor-server/**"],
        &["cursor-agent", "**/cursor-agent/**"],
        &[
            "CURSOR_AGENT",
            "CURSOR_CONVERSATION_ID",
            "CURSOR_EXTENSION_HOST_ROLE=agent-exec",
            "CURSOR_TRACE_ID",
        ],
    ),
    (
        "codex",
        &["codex", "codex-exec", "codex-*-linux-*"],
        &["codex", "**/@openai/codex/**"],
        &["CODEX_SANDBOX", "CODEX_SANDBOX_NETWORK_DISABLED", "CODEX_THREAD_ID", "CODEX_CI"],
    ),
    ("gemini-cli", &["gemini"], &["gemini", "**/@google/gemini-cli/**"], &["GEMINI_CLI"]),
    (
        "copilot",
        &["copilot", "copilot-agent", "copilot-language-server"],
        &["copilot", "**/@github/copilot/**", "**/@github/copilot-*/**"],
        &["COPILOT_CLI"],
    ),
    ("aider", &["aider"], &["aider", "**/aider/__main__.py"], &[]),
    (
        "mcp-server",
        &["mcp-server-*", "*-mcp-server", "mcp_server_*", "mcp-proxy"],
        &[
            "mcp-server-*",
            "*-mcp-server",
            "mcp_server_*",
            "**/@modelcontextprotocol/server-*/**",
            "**/mcp-server-*/**",
            "**/mcp_server_*/**",
        ],
        &[],
    ),
    ("opencode", &["opencode"], &["opencode", "**/opencode-ai/**"], &["OPENCODE"]),
    // A program called goose is, on most hosts, one that migrates databases.
    ("goose", &["goosed"], &[], &["GOOSE_TERMINAL"]),
    ("augment", &["auggie"], &["auggie", "**/@augmentcode/auggie/**"], &["AUGMENT_AGENT"]),
    ("cline", &["cline"], &["cline"], &["CLINE_ACTIVE"]),
    ("devin", &["**/.devin/**"], &[], &[]),
];

/// The table, read.
pub(super) fn kinds() -> Vec<AgentKind> {
    // A row that is wrong is found by the test below, which reads every one.
    TABLE.iter().filter_map(|row| read(row).ok()).collect()
}

fn read((name, executables, scripts, variables): &Row) -> Result<AgentKind, super::AgentKindError> {
    AgentKind::new(name, executables, scripts, variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_order() {
        for row in TABLE {
            read(row).unwrap_or_else(|error| panic!("{error}"));
        }
        assert_eq!(kinds().len(), TABLE.len());
    }
}
