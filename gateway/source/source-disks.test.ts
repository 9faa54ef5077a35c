import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { QuietLog } from "../../test/kit/quiet-log.ts";
import { RecordingTap } from "../../test/kit/recording-tap.ts";
import { NbdClient } from "../nbd/client.ts";
import { NbdServer } from "../nbd/server.ts";
import { SourceDisks } from "./source-disks.ts";
import { thisMachine } from "./source-host.ts";

it("changes its exports one after the other, the last word standing", async () => {
  const folder = mkdtempSync(join(tmpdir(), "farshore-disks-"));
  const path = join(folder, "data.img");
  writeFileSync(path, Buffer.alloc(2 ** 20));
  const server = new NbdServer({ log: new QuietLog() });
  const disks = await SourceDisks.open("shop", server, [{ vmName: "db", name: "data", path, sectorBytes: 512 }]);
  disks.tapWith(new RecordingTap(2 ** 20), () => undefined);
  const socketPath = join(folder, "shop.sock");
  await server.listenUnix(socketPath);
  try {
    await disks.exportAs("read-write");
    const client = await NbdClient.connect({ socketPath }, "shop/db/data");
    // A fence and a forced shutdown at the same time, then the power-on.
    await Promise.all([disks.exportAs("read-only"), disks.exportAs("read-only"), disks.exportAs("read-write")]);
    expect(disks.exported).toBe("read-write");
    await client.disconnect().catch(() => undefined);
  } finally {
    await server.close();
    await disks.close();
    rmSync(folder, { recursive: true });
  }
});

it("refuses one file under two names: the journal of each would miss what the other writes", async () => {
  const folder = mkdtempSync(join(tmpdir(), "farshore-disks-"));
  const [data, alias] = [join(folder, "data.img"), join(folder, "alias.img")];
  writeFileSync(data, Buffer.alloc(2 ** 20));
  symlinkSync(data, alias);
  const server = new NbdServer({ log: new QuietLog() });
  try {
    const volumes = [
      { vmName: "db", name: "data", path: data, sectorBytes: 512 as const },
      { vmName: "db", name: "log", path: alias, sectorBytes: 512 as const },
    ];
    await expect(SourceDisks.open("shop", server, volumes)).rejects.toMatchObject({ name: "InvalidInput" });
  } finally {
    await server.close();
    rmSync(folder, { recursive: true });
  }
});

it("refuses a disk that another gateway serves, under whatever link, until that one has closed it", async () => {
  const folder = mkdtempSync(join(tmpdir(), "farshore-disks-"));
  const [path, alias] = [join(folder, "data.img"), join(folder, "alias.img")];
  writeFileSync(path, Buffer.alloc(2 ** 20));
  symlinkSync(path, alias);
  const server = new NbdServer({ log: new QuietLog() });
  const log = new QuietLog();
  const open = (name: string) =>
    SourceDisks.open("shop", server, [{ vmName: "db", name: "data", path: name, sectorBytes: 512 }], {
      ...thisMachine,
      log,
    });
  try {
    const first = await open(path);
    expect(log.entries).toEqual([]);
    await expect(open(alias)).rejects.toMatchObject({
      name: "DirectoryInUse",
      message: expect.stringContaining(`data.img is in use by farshore gateway (process ${process.pid})`),
    });
    await first.close();
    await (await open(alias)).close();
  } finally {
    await server.close();
    rmSync(folder, { recursive: true });
  }
});
