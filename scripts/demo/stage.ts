import { mkdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { z } from "zod";
import { statusReplySchema, type VpgView, vpgViewSchema } from "#core/api/site-api.ts";
import { volumeNames } from "./ledger.ts";
import { farshore, type Processes } from "./processes.ts";

export const volumeBytes = 64 * 2 ** 20;
export const vpg = "shop";

/** Everything on one machine: two sites, a gateway at each, one VM of two volumes. */
export interface Stage {
  readonly directory: string;
  readonly env: Readonly<Record<string, string>>;
  readonly sourceUris: readonly string[];
  readonly writesLog: string;
}

async function freePort(): Promise<number> {
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

async function startSite(processes: Processes, directory: string, name: string): Promise<Record<string, string>> {
  const data = `${directory}/${name}`;
  const url = `http://127.0.0.1:${await freePort()}`;
  processes.startCli(`site-${name}`, [
    "site",
    "serve",
    "--data",
    data,
    "--name",
    name,
    "--listen",
    url.slice("http://".length),
  ]);
  return await until(`site ${name}`, 20_000, async () => {
    const env = { FARSHORE_SITE: url, FARSHORE_TOKEN: readFileSync(`${data}/operator.token`, "utf8").trim() };
    statusReplySchema.parse(await farshoreStatus(env));
    return env;
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

export async function setStage(processes: Processes, directory: string): Promise<Stage> {
  mkdirSync(`${directory}/disks`, { recursive: true });
  const [env] = await Promise.all([
    startSite(processes, directory, "berlin"),
    startSite(processes, directory, "paris"),
  ]);
  const site = env["FARSHORE_SITE"] ?? "";
  const [paris, berlin] = await Promise.all([gatewayToken("paris-gw", env), gatewayToken("berlin-gw", env)]);

  const volumes = volumeNames.map(
    (name) => `  [[vm.volume]]\n  name = "${name}"\n  size = "${volumeBytes / 2 ** 20}MiB"\n`,
  );
  writeFileSync(
    `${directory}/vpg.toml`,
    `name = "${vpg}"\nprotected_site = "paris"\nsource_gateway = "paris-gw"\nrecovery_gateway = "berlin-gw"\ncheckpoint_interval = "1s"\ntarget_rpo = "10s"\n[[vm]]\nname = "db"\n${volumes.join("")}`,
  );
  await farshore(["vpg", "create", `${directory}/vpg.toml`], env);

  // Short, because a Unix socket's path may have 107 bytes.
  const socket = `${directory}/paris.sock`;
  const disks = volumeNames.map((name) => {
    const path = `${directory}/disks/${name}.img`;
    writeFileSync(path, "");
    truncateSync(path, volumeBytes);
    return `[[source.volume]]\nvm = "db"\nname = "${name}"\npath = "${path}"\n`;
  });
  writeFileSync(
    `${directory}/paris-gw.toml`,
    `site = "${site}"\nstate = "paris-state"\n[source]\nvpg = "${vpg}"\nsocket = "${socket}"\n${disks.join("")}`,
  );
  const boot = new URL("./boot-hook.ts", import.meta.url).pathname;
  writeFileSync(
    `${directory}/berlin-gw.toml`,
    `site = "${site}"\nstate = "berlin-state"\n[recovery]\ndirectory = "recovered"\n[hooks.db]\nboot = ["${process.execPath}", "${boot}", "${directory}/boots.log"]\n`,
  );
  processes.startCli("gateway-berlin", ["gateway", "run", "--config", `${directory}/berlin-gw.toml`], {
    FARSHORE_TOKEN: berlin,
  });
  processes.startCli("gateway-paris", ["gateway", "run", "--config", `${directory}/paris-gw.toml`], {
    FARSHORE_TOKEN: paris,
  });
  const sourceUris = volumeNames.map((name) => `nbd+unix:///${vpg}/db/${name}?socket=${socket}`);
  return { directory, env, sourceUris, writesLog: `${directory}/writes.log` };
}
