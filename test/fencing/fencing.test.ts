import { copyFileSync, cpSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { farshore } from "../../scripts/demo/processes.ts";
import { show, until, vpg } from "../../scripts/demo/stage.ts";
import { writeDisk } from "../kit/disk-client.ts";
import { cleanUpStages, settled, type WholeStage, wholeStage } from "../kit/whole-stage.ts";

const volumeBytes = 4 * 2 ** 20;
const tableFiles = ["table.sqlite", "table.sqlite-wal", "table.sqlite-shm"];

cleanUpStages();

const ids = (rows: readonly { readonly id: string }[]) => rows.map((row) => row.id);
const log = (stage: WholeStage, name: string) => readFileSync(join(stage.directory, `${name}.log`), "utf8");

/** A second gateway with a copy of the first one's configuration and state, and disks of its own. */
function cloneSource(stage: WholeStage): string {
  const [config, clone] = ["paris-gw.toml", "clone-gw.toml"].map((name) => join(stage.directory, name));
  if (config === undefined || clone === undefined) throw new Error("unreachable");
  const text = readFileSync(config, "utf8")
    .replaceAll("paris-state", "clone-state")
    .replaceAll("paris.sock", "clone.sock")
    .replaceAll("/disks/", "/clone-disks/");
  writeFileSync(clone, text);
  cpSync(join(stage.directory, "paris-state"), join(stage.directory, "clone-state"), { recursive: true });
  cpSync(join(stage.directory, "disks"), join(stage.directory, "clone-disks"), { recursive: true });
  return clone;
}

describe("fencing: who is over is refused and invisible, whatever happens to the table", () => {
  it("a fenced gateway goes on writing; table deleted, or restored from yesterday: the listing stays exactly what it was", async () => {
    const stage = await wholeStage({ volumes: [{ name: "data", bytes: volumeBytes }], checkpointInterval: "1s" });
    const data = join(stage.directory, "berlin");
    await writeDisk(stage.sourceUris[0] ?? "", "written before yesterday's copy");
    await settled(stage);
    await stage.processes.stop("site-berlin", "SIGKILL");
    for (const file of tableFiles)
      if (existsSync(join(data, file))) copyFileSync(join(data, file), join(stage.directory, `yesterday-${file}`));
    stage.restart.site();
    await writeDisk(stage.sourceUris[0] ?? "", "written after it");
    await settled(stage);

    // A failover that is committed: the source's term is over, and its gateway still runs, writes and sends.
    await stage.operate("failover", "live", vpg, "--wait");
    await stage.operate("failover", "commit", vpg);
    const committed = await stage.list();
    const images = await Promise.all([stage.image(committed[0]?.id ?? "", "data")]);
    await until("the source's gateway to say that it is fenced", 30_000, async () =>
      /fenced/i.test(log(stage, "gateway-paris")) ? true : undefined,
    );
    await expect(writeDisk(stage.sourceUris[0] ?? "", "written by a fenced one")).rejects.toThrow();

    const check = async (what: string) => {
      expect(ids(await stage.list("--offline", data)), what).toEqual(ids(committed));
      await farshore(["journal", "verify", data], stage.env);
      await farshore(["site", "rebuild", "--data", data], stage.env);
      expect(ids(await stage.list("--offline", data)), what).toEqual(ids(committed));
    };
    await stage.processes.stop("site-berlin", "SIGKILL");
    for (const file of tableFiles) rmSync(join(data, file), { force: true });
    await check("table deleted");

    for (const file of tableFiles) {
      rmSync(join(data, file), { force: true });
      if (existsSync(join(stage.directory, `yesterday-${file}`)))
        copyFileSync(join(stage.directory, `yesterday-${file}`), join(data, file));
    }
    // Yesterday's table does not know of the commit: the site must refuse to act on it, and nobody may be un-fenced.
    stage.restart.site();
    await until("the site with yesterday's table", 20_000, async () =>
      (await show(stage.env)) === undefined ? undefined : true,
    );
    await expect(stage.operate("failover", "live", vpg)).rejects.toThrow(/TableBehindBucket/);
    await stage.processes.stop("gateway-paris", "SIGKILL");
    stage.restart.source();
    await until("the source's gateway to be refused", 30_000, async () =>
      /TableBehindBucket|Fenced/.test(log(stage, "gateway-paris")) ? true : undefined,
    );
    await stage.processes.stop("site-berlin", "SIGKILL");
    await check("table restored from yesterday");
    expect(await stage.image(committed[0]?.id ?? "", "data")).toEqual(images[0]);
  });

  it("a clone of a gateway: one of the two is over, and the journal is that of the other", async () => {
    const stage = await wholeStage({ volumes: [{ name: "data", bytes: volumeBytes }], checkpointInterval: "1s" });
    await writeDisk(stage.sourceUris[0] ?? "", "before the clone");
    await settled(stage);
    const clone = cloneSource(stage);
    const token = stage.tokens.source;
    stage.processes.startCli("gateway-clone", ["gateway", "run", "--config", clone], { FARSHORE_TOKEN: token });
    await until("one of them to be over", 60_000, async () =>
      /Fenced|DuplicateGateway/i.test(log(stage, "gateway-paris") + log(stage, "gateway-clone")) ? true : undefined,
    );
    // Each is told to write its own name; exactly one may get it into a checkpoint.
    const uris = [stage.sourceUris[0] ?? "", (stage.sourceUris[0] ?? "").replace("paris.sock", "clone.sock")];
    const written = await Promise.allSettled(uris.map((uri, index) => writeDisk(uri, `gateway ${index}`)));
    await settled(stage);
    const newest = await stage.image((await stage.list())[0]?.id ?? "", "data");
    const names = ["before the clone", "gateway 0", "gateway 1"].filter((text) =>
      newest.subarray(0, 4096).equals(Buffer.alloc(4096, text)),
    );
    expect(names).toHaveLength(1);
    expect(written.filter((each) => each.status === "fulfilled").length).toBeLessThanOrEqual(2);
    await stage.processes.stop("site-berlin", "SIGTERM");
    const data = join(stage.directory, "berlin");
    await farshore(["journal", "verify", data], stage.env);
  });
});
