import { mkdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { z } from "zod";
import { statusReplySchema, type VpgView, vpgViewSchema } from "#core/api/site-api.ts";
import { formatNbdUri } from "../../gateway/nbd/uri.ts";
import { farshore, type Processes } from "./processes.ts";

export const vpg = "shop";
export const vm = "db";

/** What is to be protected. */
export interface Plan {
  readonly volumes: readonly {
    readonly name: string;
    readonly bytes: number;
    /** A disk that is there already; otherwise an empty one is made. */
    readonly disk?: string;
  }[];
  readonly checkpointInterval: string;
  /** More lines of the source gateway's `[source]` table. */
  readonly source?: string;
  /** More lines of the recovery gateway's `[recovery]` table. */
  readonly recovery?: string;
  /** What is done while only the recovery gateway runs, before protection begins. */
  readonly beforeSource?: (stage: Stage, processes: Processes) => Promise<void>;
  /** Lines of the VPG's `[trigger]` table. */
  readonly trigger?: string;
  /** Each site is the other's peer and each gateway known at both, as going back to the protected site needs it. */
  readonly bothWays?: true;
}

/** Everything on one machine: two sites, a gateway at each, one VM of two volumes. */
export interface Stage {
  readonly directory: string;
  /** Of the recovery site: FARSHORE_SITE and an operator's FARSHORE_TOKEN. */
  readonly env: Readonly<Record<string, string>>;
  /** Of the protected site, the same. */
  readonly homeEnv: Readonly<Record<string, string>>;
  /** Of the two gateways at the recovery site. */
  readonly tokens: { readonly source: string; readonly recovery: string };
  /** Starts again what was killed. */
  readonly restart: {
    readonly site: () => void;
    readonly home: () => void;
    readonly source: () => void;
    readonly recovery: () => void;
  };
  readonly sourceUris: readonly string[];
  readonly writesLog: string;
}

/** A TCP port on loopback that nobody listens on now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no free port");
  return address.port;
}

/** Asks again until `answer` gives something; fails with `what` after `ms`. */
export async function until<T>(what: string, ms: number, answer: () => Promise<T | undefined>): Promise<T> {
  const deadline = performance.now() + ms;
  let last: unknown;
  while (performance.now() < deadline) {
    try {
      const value = await answer();
      if (value !== undefined) return value;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error(`gave up waiting for ${what}`, { cause: last });
}

interface RunningSite {
  readonly env: Readonly<Record<string, string>>;
  readonly start: () => void;
}

async function startSite(processes: Processes, directory: string, name: string): Promise<RunningSite> {
  const data = `${directory}/${name}`;
  const url = `http://127.0.0.1:${await freePort()}`;
  const listen = url.slice("http://".length);
  const start = () =>
    void processes.startCli(`site-${name}`, ["site", "serve", "--data", data, "--name", name, "--listen", listen]);
  start();
  return await until(`site ${name}`, 20_000, async () => {
    const env = { FARSHORE_SITE: url, FARSHORE_TOKEN: readFileSync(`${data}/operator.token`, "utf8").trim() };
    statusReplySchema.parse(await farshoreStatus(env));
    return { env, start };
  });
}

/** `farshore status` exits 1 or 2 when something wants a look, so ask the site itself. */
async function farshoreStatus(env: Readonly<Record<string, string>>): Promise<unknown> {
  const reply = await fetch(`${env["FARSHORE_SITE"]}/v1/status`, {
    headers: { authorization: `Bearer ${env["FARSHORE_TOKEN"]}` },
  });
  return await reply.json();
}

async function gatewayToken(name: string, env: Readonly<Record<string, string>>): Promise<string> {
  const created = await farshore(["token", "create", "--role", "gateway", "--name", name], env);
  return z.object({ token: z.string() }).parse(created).token;
}

export const show = async (env: Readonly<Record<string, string>>): Promise<VpgView> =>
  vpgViewSchema.parse(await farshore(["vpg", "show", vpg], env));

export async function setStage(processes: Processes, directory: string, plan: Plan): Promise<Stage> {
  mkdirSync(`${directory}/disks`, { recursive: true });
  const [{ env, start }, home] = await Promise.all([
    startSite(processes, directory, "berlin"),
    startSite(processes, directory, "paris"),
  ]);
  const [paris, berlin] = await Promise.all([gatewayToken("paris-gw", env), gatewayToken("berlin-gw", env)]);
  writeFileSync(`${directory}/vpg.toml`, vpgFile(plan));
  await farshore(["vpg", "create", `${directory}/vpg.toml`], env);

  const socket = `${directory}/paris.sock`;
  const back = plan.bothWays === true ? await wayBack(directory, env, home.env) : { paris: "", berlin: "" };
  writeFileSync(
    `${directory}/paris-gw.toml`,
    `${sourceFile(directory, env["FARSHORE_SITE"] ?? "", socket, plan)}${back.paris}`,
  );
  writeFileSync(
    `${directory}/berlin-gw.toml`,
    `site = "${env["FARSHORE_SITE"]}"\nstate = "berlin-state"\n[recovery]\ndirectory = "recovered"\n${plan.recovery ?? ""}${back.berlin}${hooksOf(directory, "", plan.bothWays)}`,
  );
  const gateway = (name: string, token: string) => () =>
    void processes.startCli(`gateway-${name}`, ["gateway", "run", "--config", `${directory}/${name}-gw.toml`], {
      FARSHORE_TOKEN: token,
    });
  const restart = {
    site: start,
    home: home.start,
    source: gateway("paris", paris),
    recovery: gateway("berlin", berlin),
  };
  const sourceUris = plan.volumes.map(({ name }) => formatNbdUri({ socketPath: socket }, `${vpg}/${vm}/${name}`));
  const tokens = { source: paris, recovery: berlin };
  const writesLog = `${directory}/writes.log`;
  const stage = { directory, env, homeEnv: home.env, tokens, restart, sourceUris, writesLog };
  restart.recovery();
  await plan.beforeSource?.(stage, processes);
  restart.source();
  return stage;
}

/** The hooks of the VM at one site; a move needs to know whether it runs. */
export function hooksOf(directory: string, suffix: string, status?: true): string {
  const hook = new URL("./hook.ts", import.meta.url).pathname;
  const verbs = ["boot", "shutdown", ...(status === undefined ? [] : ["status"])];
  const lines = verbs.map(
    (verb) =>
      `${verb} = ["${process.execPath}", "${hook}", "${directory}/${verb}${suffix}.log", "${directory}/running${suffix}"]\n`,
  );
  return `[hooks.${vm}]\n${lines.join("")}`;
}

/** Makes the sites and gateways known to each other; the lines that the gateways' configurations have for it. */
async function wayBack(
  directory: string,
  there: Readonly<Record<string, string>>,
  home: Readonly<Record<string, string>>,
): Promise<{ readonly paris: string; readonly berlin: string }> {
  const [paris, berlin] = await Promise.all([gatewayToken("paris-gw", home), gatewayToken("berlin-gw", home)]);
  writeFileSync(`${directory}/paris-home.token`, paris);
  writeFileSync(`${directory}/berlin-home.token`, berlin);
  await Promise.all([
    addPeer(directory, there, "paris", home, "berlin"),
    addPeer(directory, home, "berlin", there, "paris"),
  ]);
  const site = `site = "${home["FARSHORE_SITE"]}"\ntoken_file`;
  return {
    paris: `[recovery]\n${site} = "paris-home.token"\ndirectory = "home"\n${hooksOf(directory, "-home", true)}`,
    berlin: `[source]\n${site} = "berlin-home.token"\n`,
  };
}

/** Site `env` learns of its peer `name`, and how to show itself there: as `self`. */
async function addPeer(
  directory: string,
  env: Readonly<Record<string, string>>,
  name: string,
  peer: Readonly<Record<string, string>>,
  self: string,
): Promise<void> {
  const made = await farshore(["token", "create", "--role", "peer", "--name", self], peer);
  const { token } = z.object({ token: z.string() }).parse(made);
  const file = `${directory}/${self}-at-${name}.token`;
  writeFileSync(file, token);
  const shown = ["--token-file", file, "--data", `${directory}/${self}`, "--peer-token", peer["FARSHORE_TOKEN"] ?? ""];
  await farshore(["site", "peer", "add", name, "--url", peer["FARSHORE_SITE"] ?? "", ...shown], env);
}

/** The definition, as `farshore vpg create` and `edit` take it. */
export function vpgFile(plan: Pick<Plan, "volumes" | "checkpointInterval" | "trigger">): string {
  const volumes = plan.volumes.map(({ name, bytes }) => `  [[vm.volume]]\n  name = "${name}"\n  size = "${bytes}B"\n`);
  return `name = "${vpg}"
protected_site = "paris"
source_gateway = "paris-gw"
recovery_gateway = "berlin-gw"
checkpoint_interval = "${plan.checkpointInterval}"
target_rpo = "10s"
[[vm]]
name = "${vm}"
${volumes.join("")}${plan.trigger === undefined ? "" : `[trigger]\n${plan.trigger}\n`}`;
}

/** The source gateway's configuration; makes the disks that aren't there. */
function sourceFile(directory: string, site: string, socket: string, plan: Plan): string {
  const volumes = plan.volumes.map(({ name, bytes, disk }) => {
    const path = disk ?? `${directory}/disks/${name}.img`;
    if (disk === undefined) {
      writeFileSync(path, "");
      truncateSync(path, bytes);
    }
    return `[[source.volume]]\nvm = "${vm}"\nname = "${name}"\npath = "${path}"\n`;
  });
  return `site = "${site}"\nstate = "paris-state"\n[source]\nvpg = "${vpg}"\nsocket = "${socket}"\n${plan.source ?? ""}\n${volumes.join("")}`;
}
