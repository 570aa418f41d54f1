// A program that somebody might write with a client generated from the specification: it makes an agent, looks at it,
// talks to it, stops it and deletes it. That it compiles shows that the types are useful; it runs against a live server.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Schemas = components["schemas"];
type IsAny<T> = 0 extends 1 & T ? true : false;
type IsUnknown<T> = unknown extends T ? true : false;
const typed = <T>(value: IsAny<T> extends true ? never : IsUnknown<T> extends true ? never : T): T => value as T;

const baseUrl = process.env["CREEL_URL"] ?? "";
const api = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${process.env["CREEL_API_KEY"] ?? ""}` } });

// Without a credential there are no agents, and everything else is refused with a stable code.
const nobody = createClient<paths>({ baseUrl });
const none = await nobody.GET("/api/agents");
assert.equal(none.data?.count, 0);
const refused = await nobody.GET("/api/agents/provision");
assert.equal(refused.response.status, 401);
const error: Schemas["Error"] | undefined = refused.error;
assert.equal(error?.code, "UNAUTHORIZED");

const session = await api.GET("/api/auth/session");
const email: string | undefined = session.data?.user?.email;
assert.equal(email, "client@example.com");

// What is wrong is named.
const nameless = await api.POST("/api/agents/provision", { body: { name: "" } });
assert.equal(nameless.error?.code, "INVALID_BODY");

const made = await api.POST("/api/agents/provision", { params: { query: { wait: 60 } }, body: { name: "from TypeScript" } });
assert.ok(made.data, JSON.stringify(made.error));
const agent: Schemas["AgentListItem"] = made.data.agent;
const status: "provisioning" | "running" | "stopped" | "error" = agent.status;
assert.equal(status, "running");
const id: string = typed<string>(agent.id);

const listed = await api.GET("/api/agents", { params: { query: { limit: 10 } } });
assert.deepEqual(listed.data?.agents.map((one) => one.id), [id]);
const detail = await api.GET("/api/agents/{id}", { params: { path: { id } } });
const verified: boolean | undefined = detail.data?.agent.verified;
assert.equal(verified, false);
assert.equal(detail.data?.agent.status, "active");
assert.ok(detail.data.agent.conditions.every((condition) => condition.type.length > 0 && ["True", "False", "Unknown"].includes(condition.status)));

const put = await api.PUT("/api/agents/{id}/config", { params: { path: { id } }, body: { logging: { level: "debug" } } });
assert.equal(put.data?.status, "updated");
const config = await api.GET("/api/agents/{id}/config", { params: { path: { id } } });
assert.deepEqual(config.data?.config, { logging: { level: "debug" } });

const said = await api.POST("/api/chat", { body: { message: "Hello from TypeScript", agentId: id } });
assert.ok(said.data, JSON.stringify(said.error));
const reply: string = said.data.reply;
assert.match(reply, /Hello from TypeScript/);

const logs = await api.GET("/api/agents/{id}/logs", { params: { path: { id }, query: { limit: 5 } } });
assert.ok(typeof logs.data === "object"); // the same address gives a stream too
const level: "debug" | "info" | "warn" | "error" | undefined = logs.data.logs[0]?.level;
assert.ok(level);
const stats = await api.GET("/api/agents/{id}/stats", { params: { path: { id } } });
assert.equal(typed<Schemas["AgentStats"] | undefined>(stats.data?.stats)?.agentId, id);

const stopped = await api.POST("/api/instance/{userId}/stop", { params: { path: { userId: id } } });
assert.equal(stopped.data?.status, "stopped");
const silent = await api.POST("/api/chat", { body: { message: "Hello?", agentId: id } });
assert.equal(silent.error?.code, "AGENT_NOT_RUNNING");

const deleted = await api.DELETE("/api/agents/{id}", { params: { path: { id }, query: { purge: true } } });
assert.equal(deleted.data?.deleted, id);
assert.equal(deleted.response.headers.get("deprecation"), "true");
const gone = await api.GET("/api/agents/{id}", { params: { path: { id } } });
assert.equal(gone.error?.code, "AGENT_NOT_FOUND");
console.log("client: done");
