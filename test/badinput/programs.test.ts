import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { examples } from "../../cli/examples.ts";
import { NbdClient } from "../../gateway/nbd/client.ts";
import { encodeGo, encodeOption, encodeRequest, option } from "../../gateway/nbd/protocol.ts";
import { farshore, Processes } from "../../scripts/demo/processes.ts";
import { show, until, vm, vpg } from "../../scripts/demo/stage.ts";
import { testCertificate, testKey } from "../kit/test-certificate.ts";

const cli = new URL("../../cli/main.ts", import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), "fs-"));
const processes = new Processes(folder);
const at = (name: string): string => join(folder, name);
const written = (name: string, text: string): string => {
  writeFileSync(at(name), text);
  return at(name);
};
const cert = written("cert.pem", testCertificate);
const key = written("key.pem", testKey);

afterAll(async () => {
  await processes.stopAll();
  rmSync(folder, { recursive: true, force: true });
});

/** Runs the command line to its end; a program that should refuse and serves instead is ended, and its status is null. */
function run(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  return new Promise<{ status: number | null; stderr: string }>((resolve) => {
    const options = { env: { ...process.env, FARSHORE_TOKEN: "x", ...env }, timeout: 60_000 };
    const child = execFile(process.execPath, [cli, ...args], options, (_error, _stdout, stderr) =>
      resolve({ status: child.exitCode, stderr }),
    );
  });
}

const vpgToml = examples["vpg.toml"] ?? "";
const gatewayToml = (over: { readonly path?: string; readonly socket?: string; readonly more?: string }): string =>
  `site = "http://127.0.0.1:1"\nstate = "state"\n[source]\nvpg = "shop"\nsocket = "${over.socket ?? "s.sock"}"\n${over.more ?? ""}\n` +
  `[[source.volume]]\nvm = "db"\nname = "data"\npath = "${over.path ?? "disk.img"}"\n`;

describe("programs refuse bad input with status 2, naming the file and the key", () => {
  mkdirSync(at("folder"));
  truncateSync(written("disk.img", ""), 65_536);
  const serve = ["site", "serve", "--data", at("refused"), "--name", "x", "--listen"];
  const create = (text: string, index: number) => ["vpg", "create", written(`vpg-${index}.toml`, text)];
  const gateway = (text: string, index: number) => [
    "gateway",
    "run",
    "--config",
    written(`gateway-${index}.toml`, text),
  ];
  const cases: readonly (readonly [string, readonly string[], RegExp])[] = [
    ["vpg create: no TOML", create("name = ", 1), /vpg-1\.toml.*TOML/],
    ["vpg create: an unknown key", create(`${vpgToml}\n[surprise]\n`, 2), /vpg-2\.toml[\s\S]*surprise/],
    ["vpg create: a size that isn't", create(vpgToml.replace('"64MiB"', '"64 MB"'), 3), /vpg-3\.toml[\s\S]*size/],
    ["vpg create: a folder", ["vpg", "create", at("folder")], /folder/],
    ["gateway run: no TOML", gateway("site = [", 1), /gateway-1\.toml:1.*TOML/],
    ["gateway run: an unknown key", gateway(gatewayToml({ more: "bufer = 1" }), 2), /gateway-2\.toml:\d+.*bufer/],
    ["gateway run: a wrong value", gateway(gatewayToml({ more: 'buffer = "1MiB"' }), 3), /gateway-3\.toml.*buffer/],
    ["gateway run: no such file", ["gateway", "run", "--config", at("none.toml")], /none\.toml/],
    ["gateway run: no end of a file", ["gateway", "run", "--config", "/dev/zero"], /InvalidInput.*\/dev\/zero/],
    [
      "gateway run: a state where no directory can be",
      gateway(gatewayToml({}).replace('"state"', '"/proc/farshore/state"'), 6),
      /InvalidInput.*\/proc\/farshore/,
    ],
    ["vpg create: no end of a file", ["vpg", "create", "/dev/zero"], /InvalidInput.*\/dev\/zero/],
    ["site serve: a place for no directory", ["site", "serve", "--data", "/proc/farshore", "--name", "x"], /\/proc/],
    ["gateway run: no such disk", gateway(gatewayToml({ path: "none.img" }), 4), /InvalidInput.*none\.img.*ENOENT/],
    [
      "gateway run: a socket below a file",
      gateway(gatewayToml({ socket: "disk.img/s.sock" }), 5),
      /InvalidInput.*disk\.img\/s\.sock/,
    ],
    ["site serve: beyond loopback without TLS", [...serve, "0.0.0.0:0"], /InvalidInput.*0\.0\.0\.0.*--tls-cert/],
    ["site serve: half of TLS", [...serve, "127.0.0.1:0", "--tls-cert", cert], /--tls-key/],
    [
      "site serve: a certificate that isn't",
      [...serve, "127.0.0.1:0", "--tls-cert", at("disk.img"), "--tls-key", key],
      /InvalidInput.*disk\.img/,
    ],
    ["a site that is no address", ["--site", "http://", "status"], /InvalidInput.*--site/],
  ];
  it.each(cases)("%s", async (_, args, message) => {
    expect(await run(args)).toEqual({ status: 2, stderr: expect.stringMatching(message) });
  });

  it("a token with a line break in it", async () => {
    const refused = await run(["status"], { FARSHORE_TOKEN: "a\nb" });
    expect(refused).toEqual({ status: 2, stderr: expect.stringContaining("FARSHORE_TOKEN") });
  });
});

describe("a site beyond loopback, with TLS", () => {
  const socketPath = at("paris.sock");
  const exportName = `${vpg}/${vm}/data`;
  let env: Readonly<Record<string, string>>;

  beforeAll(async () => {
    const args = ["site", "serve", "--data", at("berlin"), "--name", "berlin", "--listen", "0.0.0.0:0"];
    processes.startCli("site", [...args, "--tls-cert", cert, "--tls-key", key]);
    const port = await until(
      "the site",
      60_000,
      async () => /serves https:\S+:(\d+)/.exec(readFileSync(at("site.log"), "utf8"))?.[1],
    );
    const token = readFileSync(at("berlin/operator.token"), "utf8").trim();
    env = { FARSHORE_SITE: `https://127.0.0.1:${port}`, FARSHORE_TOKEN: token, NODE_EXTRA_CA_CERTS: cert };
    for (const name of ["paris-gw", "berlin-gw"]) {
      const created = await farshore(["token", "create", "--role", "gateway", "--name", name], env);
      if (name === "paris-gw") writeFileSync(at("paris.token"), Object(created).token);
    }
    const head = `name = "${vpg}"\nprotected_site = "paris"\nsource_gateway = "paris-gw"\nrecovery_gateway = "berlin-gw"\n`;
    const volume = `[[vm]]\nname = "${vm}"\n[[vm.volume]]\nname = "data"\nsize = "64KiB"\n`;
    await farshore(["vpg", "create", written("shop.toml", `${head}checkpoint_interval = "1s"\n${volume}`)], env);
    const config = gatewayToml({ socket: socketPath, path: at("disk.img") })
      .replace("http://127.0.0.1:1", env["FARSHORE_SITE"] ?? "")
      .replace("state =", `token_file = "paris.token"\nca_file = "${cert}"\nstate =`);
    processes.startCli("gateway", ["gateway", "run", "--config", written("paris-gw.toml", config)]);
  });

  it("serves the command line that trusts it, and tells another one why not", async () => {
    expect((await show(env)).name).toBe(vpg);
    const { NODE_EXTRA_CA_CERTS: _, ...distrusting } = env;
    const refused = await run(["vpg", "list"], distrusting);
    expect(refused).toEqual({ status: 1, stderr: expect.stringMatching(/not trusted.*NODE_EXTRA_CA_CERTS/) });
  });

  it("takes a gateway's writes by ca_file", async () => {
    await until("a checkpoint", 60_000, async () => ((await show(env)).checkpoints > 0 ? true : undefined));
  });

  it("and the gateway serves on, whatever NBD clients say to it", async () => {
    const flags = Buffer.from([0, 0, 0, 3]);
    const go = Buffer.concat([flags, encodeOption(option.go, encodeGo(exportName, []))]);
    const endless = encodeOption(option.go, Buffer.alloc(8));
    endless.writeUInt32BE(0xffff_ffff, 12);
    const beyond = encodeRequest({ flags: 0, type: 0, handle: 1n, offset: 2 ** 50, length: 512 });
    const said: readonly Uint8Array[] = [
      Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
      Buffer.alloc(100_000, 0xff),
      Buffer.from([0, 0, 0, 0]),
      Buffer.concat([flags, encodeOption(option.go, encodeGo("no/such/disk", []))]),
      Buffer.concat([flags, encodeOption(99, Buffer.alloc(10))]),
      Buffer.concat([flags, endless]),
      go.subarray(0, go.length - 3),
      Buffer.concat([go, beyond]),
      Buffer.concat([go, Buffer.alloc(28, 0xee)]),
    ];
    for (const bytes of said) {
      await new Promise<void>((resolve) => {
        const socket = connect(socketPath, () => socket.end(bytes));
        socket.on("error", () => socket.destroy());
        socket.on("close", () => resolve());
        socket.resume();
      });
    }
    const { checkpoints } = await show(env);
    const client = await NbdClient.connect({ socketPath }, exportName);
    await client.write(0, Buffer.alloc(512, 7));
    expect((await client.read(0, 512))[511]).toBe(7);
    await client.disconnect();
    await until("a checkpoint of it", 60_000, async () =>
      (await show(env)).checkpoints > checkpoints ? true : undefined,
    );
  });
});
