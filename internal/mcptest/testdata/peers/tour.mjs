// Visits everything that server-everything has, with the TypeScript SDK's client,
// and prints what it met, one JSON value a line. The server's command line is the
// arguments.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import {
  CreateMessageRequestSchema, CreateTaskResultSchema, CallToolResultSchema, ElicitRequestSchema, GetTaskResultSchema,
  ListRootsRequestSchema, EmptyResultSchema,
} from "@modelcontextprotocol/sdk/types.js";

const [command, ...args] = process.argv.slice(2);
const say = (step, result) => console.log(JSON.stringify({ step, result }));
const step = async (name, work) => {
  try {
    say(name, await work());
  } catch (e) {
    say(name, { error: e.message, code: e.code, name: e.name });
  }
};

const client = new Client({ name: "tour", version: "1.0.0" }, {
  capabilities: { sampling: {}, elicitation: { form: {}, url: {} }, roots: { listChanged: true } },
});
let roots = [{ uri: "file:///tmp/tour", name: "tour" }];
const asked = [];
client.setRequestHandler(CreateMessageRequestSchema, async (request) => {
  asked.push({ method: request.method, params: request.params });
  return { role: "assistant", model: "stand-in", content: { type: "text", text: "sampled" } };
});
client.setRequestHandler(ElicitRequestSchema, async (request) => {
  asked.push({ method: request.method, mode: request.params.mode ?? "form", fields: Object.keys(request.params.requestedSchema?.properties ?? {}) });
  return { action: "accept", content: { name: "Ada", check: true } };
});
client.setRequestHandler(ListRootsRequestSchema, async (request) => {
  asked.push({ method: request.method });
  return { roots };
});
// Notifications arrive when they like: they are counted by kind, and waited for.
const heard = {};
let hear = () => {};
client.fallbackNotificationHandler = async (n) => {
  heard[n.method] = (heard[n.method] ?? 0) + 1;
  hear();
};
const until = (method) => new Promise((resolve, reject) => {
  const late = setTimeout(() => reject(new Error("no " + method)), 15000);
  hear = () => {
    if (heard[method]) {
      clearTimeout(late);
      resolve(method);
    }
  };
  hear();
});

await client.connect(new StdioClientTransport({ command, args, env: process.env, stderr: "inherit" }));
const call = (name, args, options) => client.callTool({ name, arguments: args }, undefined, options);

await step("server", () => ({ capabilities: client.getServerCapabilities(), version: client.getServerVersion(), instructions: client.getInstructions()?.length }));
await step("tools/list changed", () => until("notifications/tools/list_changed"));
await step("tools/list", () => client.listTools());
await step("echo", () => call("echo", { message: "hello \u2028 \u{1F600}" }));
await step("sum", () => call("get-sum", { a: 2, b: 40 }));
await step("image", () => call("get-tiny-image", {}));
await step("structured", () => call("get-structured-content", { location: "Chicago" }));
await step("annotated", () => call("get-annotated-message", { messageType: "error", includeImage: true }));
await step("links", () => call("get-resource-links", { count: 2 }));
await step("reference", () => call("get-resource-reference", { resourceType: "Text", resourceId: 3 }));
const progress = [];
await step("progress", async () => {
  const result = await call("trigger-long-running-operation", { duration: 0.2, steps: 4 }, { onprogress: (p) => progress.push(p) });
  // The last one may come to hand behind the result.
  return { result, progress: progress.slice(0, 3) };
});
await step("sampling", () => call("trigger-sampling-request", { prompt: "Say it", maxTokens: 5 }));
await step("elicitation", () => call("trigger-elicitation-request", {}));
await step("roots", () => call("get-roots-list", {}));
await step("roots changed", async () => {
  roots = [...roots, { uri: "file:///tmp/more", name: "more" }];
  const before = asked.filter((a) => a.method === "roots/list").length;
  await client.sendRootsListChanged();
  while (asked.filter((a) => a.method === "roots/list").length === before) {
    await new Promise((r) => setTimeout(r, 5));
  }
  return "asked again";
});
await step("bad arguments", () => call("get-sum", { a: "x" }));
await step("unknown tool", () => call("no-such-tool", {}));
await step("unknown method", () => client.request({ method: "x/unknown", params: { n: 1 } }, EmptyResultSchema));
await step("ping", () => client.ping());
await step("resources", () => client.listResources());
await step("templates", () => client.listResourceTemplates());
await step("read", () => client.readResource({ uri: "demo://resource/static/document/features.md" }));
await step("read dynamic", () => client.readResource({ uri: "demo://resource/dynamic/text/7" }));
await step("read unknown", () => client.readResource({ uri: "demo://nothing" }));
await step("subscribe", () => client.subscribeResource({ uri: "demo://resource/dynamic/text/7" }));
await step("updates", () => call("toggle-subscriber-updates", {}));
await step("updated", () => until("notifications/resources/updated"));
await step("unsubscribe", () => client.unsubscribeResource({ uri: "demo://resource/dynamic/text/7" }));
await step("prompts", () => client.listPrompts());
await step("prompt", () => client.getPrompt({ name: "args-prompt", arguments: { city: "Bonn" } }));
await step("complete", () => client.complete({ ref: { type: "ref/prompt", name: "completable-prompt" }, argument: { name: "department", value: "E" } }));
await step("log level", () => client.setLoggingLevel("debug"));
await step("logging", () => call("toggle-simulated-logging", {}));
await step("logged", () => until("notifications/message"));
await step("gzip", () => call("gzip-file-as-resource", { name: "a.gz", data: "data:text/plain,hello", outputType: "resourceLink" }));
await step("resources/list changed", () => until("notifications/resources/list_changed"));
await step("task", async () => {
  const made = await client.request({ method: "tools/call", params: { name: "simulate-research-query", arguments: { topic: "rain" }, task: { ttl: 60000 } } }, CreateTaskResultSchema);
  let task = made.task;
  const seen = [task.status];
  while (task.status === "working" || task.status === "submitted") {
    await new Promise((r) => setTimeout(r, 100));
    task = await client.request({ method: "tasks/get", params: { taskId: task.taskId } }, GetTaskResultSchema);
    if (task.status !== seen.at(-1)) seen.push(task.status);
  }
  const result = await client.request({ method: "tasks/result", params: { taskId: task.taskId } }, CallToolResultSchema);
  return { seen, result };
});
await step("cancel", async () => {
  const abort = new AbortController();
  const before = Date.now();
  try {
    await call("trigger-long-running-operation", { duration: 60, steps: 600 }, { signal: abort.signal, onprogress: () => abort.abort("enough") });
  } catch (e) {
    return { name: e.name, message: e.message, quick: Date.now() - before < 20000, alive: await client.ping() };
  }
});
say("asked", asked);
say("heard", Object.keys(heard).sort());
await client.close();
