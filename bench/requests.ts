import { readFileSync, writeFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { NbdClient } from "../gateway/nbd/client.ts";
import { parseNbdUri } from "../gateway/nbd/uri.ts";
import type { BenchContext } from "./bench.ts";
import { CountingProxy } from "./counting-proxy.ts";
import type { Findings, Metric } from "./findings.ts";
import { requestSeconds, requestSecondsQuick } from "./limits.ts";
import type { BenchStage } from "./stage.ts";

const perBatch: Metric = { label: "PUTs", unit: "a batch", digits: 2 };
const batches: Metric = { label: "batches", unit: "" };
const others: Metric = { label: "other requests", unit: "a minute", digits: 1 };

const scenario = "requests to the site, checkpoints every 5 s";
const guests = [
  { name: "an idle guest", writesPerSecond: 0 },
  { name: "10 writes a second", writesPerSecond: 10 },
  { name: "1000 writes a second", writesPerSecond: 1000 },
] as const;

/** Puts a counting proxy between the stage's source gateway and its site, writes at some pace, and counts. */
export async function countRequests(context: BenchContext, findings: Findings, stage: BenchStage): Promise<void> {
  const proxy = await CountingProxy.start(stage.stage.env["FARSHORE_SITE"] ?? "");
  try {
    const config = `${stage.stage.directory}/paris-gw.toml`;
    await stage.processes.stop("gateway-paris", "SIGTERM");
    writeFileSync(config, readFileSync(config, "utf8").replace(/^site = .*$/m, `site = "${proxy.url}"`));
    stage.stage.restart.source();
    await stage.settled();
    const seconds = context.quick ? requestSecondsQuick : requestSeconds;
    for (const guest of guests) {
      context.say(`requests of ${guest.name}, checkpoints every 5 s`);
      proxy.reset();
      await write(stage, guest.writesPerSecond, seconds);
      const { requests, batchPuts, batches: made } = proxy;
      findings.add(scenario, guest.name, batches, made);
      if (made > 0) findings.add(scenario, guest.name, perBatch, batchPuts / made);
      findings.add(scenario, guest.name, others, ((requests - batchPuts) * 60) / seconds);
    }
  } finally {
    proxy.close();
  }
}

/** 4 KiB writes at random places, evenly over the time. */
async function write(stage: BenchStage, writesPerSecond: number, seconds: number): Promise<void> {
  const { address, exportName } = parseNbdUri(stage.stage.sourceUris[0] ?? "");
  const client = await NbdClient.connect(address, exportName);
  const block = Buffer.alloc(4096, 0x33);
  const tickMs = 100;
  const ticks = (seconds * 1000) / tickMs;
  let written = 0;
  for (let tick = 1; tick <= ticks; tick += 1) {
    const due = Math.floor((writesPerSecond * tick) / (1000 / tickMs));
    for (; written < due; written += 1) {
      await client.write(Math.floor((Math.random() * client.sizeBytes) / block.length) * block.length, block);
    }
    await pause(tickMs);
  }
  await client.disconnect();
}
