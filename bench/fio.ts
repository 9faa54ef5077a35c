import { z } from "zod";
import { run } from "./programs.ts";

export interface FioJob {
  readonly direction: "randwrite" | "write" | "read";
  readonly blockBytes: number;
  readonly depth: number;
  readonly seconds: number;
}

export interface FioResult {
  readonly iops: number;
  readonly bytesPerSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
}

const sideSchema = z.object({
  iops: z.number(),
  bw_bytes: z.number(),
  lat_ns: z.object({ percentile: z.record(z.string(), z.number()).optional() }),
});
const replySchema = z.object({
  jobs: z.tuple([z.object({ error: z.int(), read: sideSchema, write: sideSchema })]),
});

/** Where fio's requests go: an NBD export, or a file without any server. */
export type FioTarget = { readonly uri: string } | { readonly file: string };

/**
 * One job, timed. Half of every block compresses away, like the data of a real disk; the same seed is never used twice, so
 * that no two rounds write the same places. Throws when fio, or one of its requests, fails.
 */
export async function fio(program: string, target: FioTarget, sizeBytes: number, job: FioJob): Promise<FioResult> {
  const where =
    "uri" in target ? ["--ioengine=nbd", `--uri=${target.uri}`] : ["--ioengine=psync", `--filename=${target.file}`];
  const output = await run(program, [
    "--name=guest",
    ...where,
    `--rw=${job.direction}`,
    `--bs=${job.blockBytes}`,
    `--iodepth=${job.depth}`,
    `--size=${sizeBytes}`,
    `--runtime=${job.seconds}`,
    "--time_based",
    "--ramp_time=500ms",
    "--randrepeat=0",
    "--norandommap",
    "--buffer_compress_percentage=50",
    // From the moment a request is begun: a server that answers while fio still submits would else look faster than it is.
    "--lat_percentiles=1",
    "--clat_percentiles=0",
    "--output-format=json",
  ]);
  const { jobs } = replySchema.parse(JSON.parse(output.slice(output.indexOf("{"))));
  if (jobs[0].error !== 0) throw new Error(`fio ended with error ${jobs[0].error}`);
  const side = job.direction === "read" ? jobs[0].read : jobs[0].write;
  const percentile = (name: string): number => (side.lat_ns.percentile?.[name] ?? Number.NaN) / 1000;
  return {
    iops: side.iops,
    bytesPerSecond: side.bw_bytes,
    p50Us: percentile("50.000000"),
    p99Us: percentile("99.000000"),
  };
}
