import { execFile } from "node:child_process";
import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { formatNbdUri } from "../../gateway/nbd/uri.ts";
import { show, until } from "../../scripts/demo/stage.ts";
import { requirePeer } from "../kit/peers.ts";
import { cleanUpStages, settled, wholeStage } from "../kit/whole-stage.ts";

const volumeBytes = 1024 * 2 ** 20;
const slices = 6;
const sliceSeconds = 5;
const rssMax = 512 * 2 ** 20;

cleanUpStages();

const fioSchema = z.object({
  jobs: z.tuple([
    z.object({
      error: z.int(),
      write: z.object({ bw_bytes: z.number(), clat_ns: z.object({ percentile: z.record(z.string(), z.number()) }) }),
    }),
  ]),
});

/** 64 KiB random writes at 200 MB/s; microseconds. */
async function fio(program: string, uri: string): Promise<{ p99Us: number; p50Us: number; mbPerSecond: number }> {
  const args = [
    "--name=guest",
    "--ioengine=nbd",
    `--uri=${uri}`,
    "--rw=randwrite",
    "--bs=64k",
    "--iodepth=16",
    "--rate=200m",
  ];
  const timing = ["--time_based", `--runtime=${sliceSeconds}`, "--output-format=json", "--randrepeat=0"];
  const { stdout } = await promisify(execFile)(program, [...args, ...timing], { maxBuffer: 2 ** 26 });
  const job = fioSchema.parse(JSON.parse(stdout.slice(stdout.indexOf("{")))).jobs[0];
  expect(job.error, "no guest write may fail").toBe(0);
  const at = (percentile: string) => (job.write.clat_ns.percentile[percentile] ?? 0) / 1000;
  return { p99Us: at("99.000000"), p50Us: at("50.000000"), mbPerSecond: job.write.bw_bytes / 1e6 };
}

const rssBytes = (pid: number): number =>
  Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? Number.NaN) * 1024;

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

describe("production first", () => {
  it("writes go on at 200 MB/s while the recovery site is stopped for a minute and more, memory stays bounded, then it syncs", async (context) => {
    const [program = ""] = requirePeer(context, "fio");
    if (process.platform !== "linux") context.skip("reads /proc: run it on Linux");
    const stage = await wholeStage({ volumes: [{ name: "data", bytes: volumeBytes }], checkpointInterval: "1s" });
    const plain = `${stage.directory}/plain.img`;
    writeFileSync(plain, "");
    truncateSync(plain, volumeBytes);
    // The first sync has read the other disk: a write over pages that a read of holes left in the cache costs the kernel twice as
    // much as one into an empty cache, so both must begin alike.
    readFileSync(plain);
    const socketPath = `${stage.directory}/plain.sock`;
    stage.processes.start("plain", new URL("../kit/plain-export.ts", import.meta.url).pathname, [plain, socketPath]);
    const gateway = stage.processes.pid("gateway-paris");

    stage.processes.signal("site-berlin", "SIGSTOP");
    const replicated: Awaited<ReturnType<typeof fio>>[] = [];
    const unreplicated: Awaited<ReturnType<typeof fio>>[] = [];
    let rss = 0;
    const watch = setInterval(() => {
      rss = Math.max(rss, rssBytes(gateway));
    }, 250);
    try {
      // Slice by slice in turn, so that both see the same minute of a shared machine.
      for (let slice = 0; slice < slices; slice += 1) {
        replicated.push(await fio(program, stage.sourceUris[0] ?? ""));
        unreplicated.push(await fio(program, formatNbdUri({ socketPath }, "plain")));
      }
    } finally {
      clearInterval(watch);
      stage.processes.signal("site-berlin", "SIGCONT");
    }
    const [p99, plainP99] = [replicated, unreplicated].map((runs) => median(runs.map((run) => run.p99Us)));
    const [p50, plainP50] = [replicated, unreplicated].map((runs) => median(runs.map((run) => run.p50Us)));
    process.stdout.write(
      `production first: site stopped ${2 * slices * sliceSeconds} s; p50 ${p50} vs ${plainP50} µs, p99 ${p99} vs ${plainP99} µs unreplicated: ratio ${((p99 ?? 0) / (plainP99 ?? 1)).toFixed(2)} (aim ≤ 2); ${median(replicated.map((run) => run.mbPerSecond)).toFixed(0)} MB/s; gateway RSS at most ${(rss / 2 ** 20).toFixed(0)} MiB\n`,
    );
    expect(rss).toBeLessThanOrEqual(rssMax);

    // The RPO is met again with the first checkpoint after the sync's end, which is some seconds later.
    await until("replication within the RPO after the sync", 180_000, async () => {
      const view = await show(stage.env);
      return view.mode === "replicating" && view.status === "MeetingSLA" ? view : undefined;
    });
    await settled(stage, 120_000);
    const newest = (await stage.list())[0];
    const image = await stage.image(newest?.id ?? "", "data");
    expect(image.equals(readFileSync(`${stage.directory}/disks/data.img`))).toBe(true);
  });
});
