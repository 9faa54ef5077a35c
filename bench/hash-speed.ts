import { randomBytes } from "node:crypto";
import { chunkBytes } from "#core/blocks/geometry.ts";
import { blockBytes } from "#core/sync/limits.ts";
import { HashPool } from "../gateway/sync/hash-pool.ts";
import type { Findings, Metric } from "./findings.ts";
import { hashSeconds, hashSecondsQuick, hashThreads } from "./limits.ts";
import { findProgram, run } from "./programs.ts";

const rate: Metric = { label: "hashed", unit: "GB/s", digits: 2 };
const perCpu: Metric = { label: "by a CPU second", unit: "GB", digits: 2 };
/** How fast the hash threads of a sync are by themselves, beside OpenSSL's own measure of this CPU in as many processes. */
export async function hashSpeed(findings: Findings, rounds: number, quick: boolean): Promise<void> {
  const openssl = findProgram("openssl");
  const seconds = quick ? hashSecondsQuick : hashSeconds;
  const scenario = `blocks of 4 KiB, ${hashThreads} threads`;
  for (let round = 0; round < rounds; round += 1) {
    const ours = await poolSpeed(seconds);
    findings.add(scenario, "farshore", rate, ours.bytesPerSecond / 1e9);
    findings.add(scenario, "farshore", perCpu, ours.bytesPerCpuSecond / 1e9);
    if (openssl === undefined) continue;
    findings.add(scenario, "openssl speed", rate, (await opensslSpeed(openssl, blockBytes, seconds)) / 1e9);
  }
  findings.goal(scenario, "farshore", rate, { atLeast: 2 });
  if (openssl !== undefined) findings.ratio(scenario, rate, "farshore", "openssl speed");
}

async function poolSpeed(seconds: number) {
  const pool = new HashPool(hashThreads);
  try {
    const content = randomBytes(chunkBytes);
    const buffer = (): ArrayBuffer => Uint8Array.from(content).buffer;
    // Loaded and compiled before it counts.
    for (let index = 0; index < 2 * hashThreads; index += 1) await pool.hash(buffer(), chunkBytes);
    const [before, started] = [process.cpuUsage(), performance.now()];
    const until = started + seconds * 1000;
    let hashed = 0;
    const lane = async (): Promise<void> => {
      for (let own = buffer(); performance.now() < until; hashed += chunkBytes) {
        own = (await pool.hash(own, chunkBytes)).buffer;
      }
    };
    await Promise.all(Array.from({ length: 4 * hashThreads }, lane));
    const { user, system } = process.cpuUsage(before);
    return {
      bytesPerSecond: hashed / ((performance.now() - started) / 1000),
      bytesPerCpuSecond: hashed / ((user + system) / 1e6),
    };
  } finally {
    await pool.close();
  }
}

/** Bytes a second by the clock, of all its processes. */
async function opensslSpeed(program: string, bytes: number, seconds: number): Promise<number> {
  const often = ["-multi", String(hashThreads), "-elapsed", "-seconds", String(seconds)];
  const said = await run(program, ["speed", ...often, "-evp", "sha256", "-bytes", String(bytes)]);
  return Number(/^sha256\s+([\d.]+)k$/m.exec(said)?.[1]) * 1000;
}
