// Does a few errands with server-filesystem or server-memory by the TypeScript
// SDK's client, and prints the results, one JSON value a line. Arguments: which
// server, a directory, and the server's command line.
import { readFileSync } from "node:fs";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";

const [which, dir, command, ...args] = process.argv.slice(2);
const client = new Client({ name: "errands", version: "1.0.0" });
await client.connect(new StdioClientTransport({ command, args, env: process.env, stderr: "inherit" }));
const say = (step, result) => console.log(JSON.stringify({ step, result }));
const call = async (name, args) => say(name, await client.callTool({ name, arguments: args }));

say("tools/list", await client.listTools());
if (which === "filesystem") {
  await call("write_file", { path: `${dir}/a.txt`, content: "one\ntwo\n" });
  await call("edit_file", { path: `${dir}/a.txt`, edits: [{ oldText: "two", newText: "three" }] });
  await call("create_directory", { path: `${dir}/b` });
  await call("move_file", { source: `${dir}/a.txt`, destination: `${dir}/b/a.txt` });
  await call("read_text_file", { path: `${dir}/b/a.txt` });
  await call("read_text_file", { path: `${dir}/b/a.txt` });
  await call("list_directory", { path: dir });
  await call("read_text_file", { path: "/etc/hostname" });
  say("file", readFileSync(`${dir}/b/a.txt`, "utf8"));
} else {
  await call("create_entities", { entities: [{ name: "Ada", entityType: "person", observations: ["counts"] }] });
  await call("create_relations", { relations: [{ from: "Ada", to: "Ada", relationType: "knows" }] });
  await call("add_observations", { observations: [{ entityName: "Ada", contents: ["writes"] }] });
  await call("read_graph", {});
  await call("search_nodes", { query: "Ada" });
  await call("delete_entities", { entityNames: ["Ada"] });
  await call("read_graph", {});
}
await client.close();
