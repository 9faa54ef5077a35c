import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { InvalidInput } from "#core/errors.ts";
import { loadGatewayConfig, parseGatewayConfig } from "./config.ts";

const full = `
site = "http://127.0.0.1:7700"
token_file = "gateway.token"
state = "state"

[source]
vpg = "shop"
socket = "run/shop.sock"
listen = "127.0.0.1:10809"
buffer = "128MiB"
start_without_grant = "after 10m"
on_fenced = "stop"

[[source.volume]]
vm = "db"
name = "data"
path = "disks/db-data.img"
sector = 4096

[[source.volume]]
vm = "web"
name = "root"
path = "/dev/vdb"

[recovery]
directory = "recovered"
preseed = "shipped"

[hooks.db]
boot = ["virsh", "start", "db"]
timeout = "2m"
`;

const parseText = (text: string) => parseGatewayConfig(text, { path: "/etc/farshore/gateway.toml", token: "t" });

describe("gateway configuration", () => {
  let folder = "";
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "farshore-config-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it("resolves paths against the file and fills the defaults in", () => {
    writeFileSync(join(folder, "gateway.toml"), full);
    writeFileSync(join(folder, "gateway.token"), "secret\n");
    const config = loadGatewayConfig(join(folder, "gateway.toml"), undefined);
    expect(config).toMatchObject({
      site: { url: "http://127.0.0.1:7700", access: { kind: "token", token: "secret" }, ca: undefined },
      stateDirectory: join(folder, "state"),
      recovery: { site: config.site, directory: join(folder, "recovered"), preseedDirectory: join(folder, "shipped") },
      source: {
        site: config.site,
        bufferBytes: 128 * 2 ** 20,
        startWithoutGrant: { kind: "after", ms: 600_000 },
        onFenced: "stop",
        vpg: {
          name: "shop",
          socket: join(folder, "run/shop.sock"),
          listen: { host: "127.0.0.1", port: 10809 },
          volumes: [
            { vmName: "db", name: "data", path: join(folder, "disks/db-data.img"), sectorBytes: 4096 },
            { vmName: "web", name: "root", path: "/dev/vdb", sectorBytes: 512 },
          ],
        },
      },
    });
    expect(config.hooks.get("db")).toEqual({ boot: ["virsh", "start", "db"], timeoutMs: 120_000 });
  });

  it("prefers the environment's token", () => {
    writeFileSync(join(folder, "gateway.toml"), full);
    expect(loadGatewayConfig(join(folder, "gateway.toml"), "from-environment").site.access).toEqual({
      kind: "token",
      token: "from-environment",
    });
  });

  it.each([
    { name: "unknown key", from: "socket =", to: "sokcet =", says: ':8: unknown key "sokcet" in [source]' },
    {
      name: "unknown volume key",
      from: "sector =",
      to: "sektor =",
      says: ':18: unknown key "sektor" in [source.volume]',
    },
    { name: "unknown section", from: "[recovery]", to: "[recvery]", says: ':25: unknown key "recvery"' },
    {
      name: "shell line as hook",
      from: '["virsh", "start", "db"]',
      to: '"virsh start db"',
      says: ":30: hooks.db.boot",
    },
    { name: "bad size", from: "128MiB", to: "128 megs", says: "not a size" },
    { name: "small buffer", from: "128MiB", to: "1MiB", says: "between 96MiB and 16GiB" },
    { name: "bad grant", from: "after 10m", to: "after lunch", says: "not a duration" },
    { name: "bad name", from: 'vm = "db"', to: 'vm = "DB_1"', says: "must be 1 to 63" },
    { name: "twice the same disk", from: '"/dev/vdb"', to: '"disks/db-data.img"', says: "given to two volumes" },
    { name: "no TOML", from: "[source]", to: "[source", says: ":6: not TOML" },
    { name: "other protocol", from: "http://", to: "ftp://", says: ":2: site: must be the URL" },
  ])("refuses: $name", ({ from, to, says }) => {
    expect(() => parseText(full.replace(from, to))).toThrow(InvalidInput);
    expect(() => parseText(full.replace(from, to))).toThrow(says);
  });

  it("refuses a file without a half, without a socket, without a token", () => {
    expect(() => parseText('site = "http://a"\nstate = "s"')).toThrow("[source] or a [recovery]");
    expect(() => parseText(full.replace(/^(socket|listen).*$/gm, ""))).toThrow("needs socket");
    const bare = full.replace(/^token_file.*$/m, "");
    expect(() => parseGatewayConfig(bare, { path: "g.toml", token: undefined })).toThrow("no token");
    expect(() => loadGatewayConfig(join(folder, "absent.toml"), "t")).toThrow("ENOENT");
  });

  it("lets a section name a site of its own, with its own token", () => {
    writeFileSync(join(folder, "far.token"), "far\n");
    const far = full
      .replace("[recovery]", '[recovery]\nsite = "http://127.0.0.1:7701"\ntoken_file = "far.token"')
      .replace('token_file = "gateway.token"', "");
    const config = parseGatewayConfig(far, { path: join(folder, "gateway.toml"), token: "from-environment" });
    expect(config.source?.site).toEqual(config.site);
    expect(config.recovery?.site).toEqual({
      url: "http://127.0.0.1:7701",
      access: { kind: "token", token: "far" },
      ca: undefined,
    });
    expect(() => parseText(far.replace('token_file = "far.token"', ""))).toThrow(
      "no token in [recovery]: set token_file",
    );
    expect(() => parseText(far.replace(/^site = .*7701"$/m, ""))).toThrow("token_file in [recovery] belongs to a site");
  });

  it("needs no VPG in [source] where only reverse protection brings disks to capture", () => {
    const [head] = full.split("[source]");
    const text = `${head}[source]\nbuffer = "128MiB"\non_fenced = "stop"\n`;
    expect(parseText(text).source).toMatchObject({ vpg: undefined, bufferBytes: 128 * 2 ** 20, onFenced: "stop" });
    for (const half of [
      'vpg = "shop"',
      'socket = "shop.sock"',
      '[[source.volume]]\nvm = "db"\nname = "data"\npath = "d"',
    ]) {
      expect(() => parseText(`${text}${half}\n`)).toThrow('[source] needs vpg = "NAME" and its');
    }
  });

  const withBarrier = (lines: string): string => full.replace('buffer = "128MiB"', `buffer = "128MiB"\n${lines}`);

  it("reads how a gateway takes part in barriers, and its key", () => {
    writeFileSync(
      join(folder, "gateway.toml"),
      withBarrier('barrier_listen = "10.0.0.5:7710"\nbarrier_key_file = "b.key"'),
    );
    writeFileSync(join(folder, "gateway.token"), "secret\n");
    writeFileSync(join(folder, "b.key"), `${"k".repeat(64)}\n`);
    const { source } = loadGatewayConfig(join(folder, "gateway.toml"), undefined);
    expect(source?.vpg?.barrier).toEqual({
      listen: { host: "10.0.0.5", port: 7710 },
      connect: undefined,
      key: Buffer.from("k".repeat(64)),
    });
    for (const length of [31, 513]) {
      writeFileSync(join(folder, "b.key"), "k".repeat(length));
      expect(() => loadGatewayConfig(join(folder, "gateway.toml"), undefined)).toThrow("must hold 32 to 512 bytes");
    }
  });

  it.each([
    ["no key", 'barrier_listen = "127.0.0.1:1"', "needs barrier_key_file"],
    ["a key for nothing", 'barrier_key_file = "b.key"', "either barrier_listen"],
    ["both ends", 'barrier_listen = "h:1"\nbarrier_connect = "h:1"\nbarrier_key_file = "b"', "either barrier_listen"],
    ["no port", 'barrier_connect = "somewhere"', "must be HOST:PORT"],
  ])("refuses a barrier with %s", (_, lines, message) => {
    expect(() => parseText(withBarrier(lines))).toThrow(message);
  });
});
