// An agent of the Vercel AI SDK with the tools of an MCP server and a model that
// is a script. The script is a list of moves, as JSON in the first argument; each
// is one turn of the model:
//
//   {"call": "pay", "args": {...}}    call a tool
//   {"calls": [{...}, {...}]}         call several at once
//   {"token": {"call": ..., ...}}     call again with the repeat token that it was given
//   {"restart": true}                 not the model: the host reconnects
//
// It prints what the model was given for each call, one JSON value a line. The
// second argument is the server's URL, or the server's command line follows.
import { generateText, stepCountIs } from "ai";
import { MockLanguageModelV4 } from "ai/test";
import { createMCPClient } from "@ai-sdk/mcp";
import { Experimental_StdioMCPTransport } from "@ai-sdk/mcp/mcp-stdio";

const [script, ...server] = process.argv.slice(2);
const moves = JSON.parse(script);

const connect = () => createMCPClient({
  transport: server[0].startsWith("http://")
    ? { type: "http", url: server[0] }
    : new Experimental_StdioMCPTransport({ command: server[0], args: server.slice(1), env: process.env, stderr: "inherit" }),
});

const usage = {
  inputTokens: { total: 1, noCache: 1, cacheRead: 0, cacheWrite: 0 },
  outputTokens: { total: 1, text: 1, reasoning: 0 },
};
let calls = 0;
let token;

// results reads what the last tool results say, as the model gets them.
const results = (prompt) => prompt.at(-1).role !== "tool" ? [] : prompt.at(-1).content.map((part) => part.output);
const hear = (prompt) => {
  for (const output of results(prompt)) {
    const text = JSON.stringify(output);
    console.log(JSON.stringify({ told: text }));
    token = text.match(/onceguard_repeat\\+": \\+"([^"\\]+)/)?.[1] ?? token;
  }
};

const model = (turns) => new MockLanguageModelV4({
  doGenerate: async ({ prompt }) => {
    hear(prompt);
    const turn = turns.shift();
    if (!turn) {
      return { content: [{ type: "text", text: "done" }], finishReason: { unified: "stop", raw: "stop" }, usage, warnings: [] };
    }
    const list = turn.calls ?? [turn.token ? { ...turn.token, args: { ...turn.token.args, onceguard_repeat: token } } : turn];
    return {
      content: list.map((c) => ({ type: "tool-call", toolCallId: `call_${++calls}`, toolName: c.call, input: JSON.stringify(c.args) })),
      finishReason: { unified: "tool-calls", raw: "tool_calls" }, usage, warnings: [],
    };
  },
});

// A host that reconnects runs the model again with what it knows.
const sessions = [[]];
for (const move of moves) {
  if (move.restart) sessions.push([]);
  else sessions.at(-1).push(move);
}
for (const turns of sessions) {
  const client = await connect();
  try {
    const tools = await client.tools();
    await generateText({ model: model([...turns]), tools, prompt: "Pay what is due.", stopWhen: stepCountIs(20) });
  } finally {
    await client.close();
  }
}
