import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { z } from "zod";
import { SystemClock } from "#adapters/embedded/clock.ts";
import { SystemRandom } from "#adapters/embedded/random.ts";
import { newId } from "#core/ids.ts";
import { bundleFunctions } from "../infra/bundle-functions.ts";
import { functionFolders } from "../infra/folders.ts";
import { type Bench, interleaved } from "./bench.ts";
import { Findings, type Metric } from "./findings.ts";

const size: Metric = { label: "bundle", unit: "KiB" };
const packed: Metric = { label: "gzipped", unit: "KiB" };
const init: Metric = { label: "init", unit: "ms" };
const cpu: Metric = { label: "CPU for it", unit: "ms" };
const memory: Metric = { label: "memory after it", unit: "MiB" };

const KiB = 1024;
const bucket = "bench-bucket";

/** What a Lambda does before its first call, and what it takes: prints milliseconds, microseconds of CPU, and bytes. */
const load =
  "const [began, before] = [performance.now(), process.cpuUsage()]; await import(process.argv[1]); " +
  "const { user, system } = process.cpuUsage(before); " +
  "console.log(JSON.stringify([performance.now() - began, user + system, process.memoryUsage.rss()]));";

interface Variant {
  readonly name: string;
  /** What stays outside of the bundles. */
  readonly external: string[];
  readonly folder: string;
}

export const functions: Bench = {
  name: "functions",
  what: "size of each function's bundle, and the time from its first line to a site that is open, beside the same with the SDK outside the bundle",
  needs: [],
  async run(context) {
    const findings = new Findings();
    const variants: readonly Variant[] = [
      { name: "SDK in the bundle", external: [], folder: join(context.diskFolder, "whole") },
      {
        name: "SDK outside, unbundled",
        external: ["@aws-sdk/*", "@smithy/*"],
        folder: join(context.diskFolder, "external"),
      },
    ];
    for (const { external, folder } of variants) await bundleFunctions(folder, external);
    const site = await siteOfOneObject();
    try {
      const chosen = context.quick ? functionFolders.slice(0, 2) : functionFolders;
      for (const name of chosen) {
        for (const variant of variants) measureSize(findings, name, variant);
        await interleaved(context.rounds, variants, async (variant, round) => {
          context.say(`${name}: ${variant.name}, round ${round + 1}`);
          const { ms, cpuMicroseconds, bytes } = await start(fileOf(name, variant), site.url);
          findings.add(variant.name, name, init, ms);
          findings.add(variant.name, name, cpu, cpuMicroseconds / 1000);
          findings.add(variant.name, name, memory, bytes / KiB / KiB);
        });
      }
    } finally {
      site.server.close();
    }
    findings.remark(
      "Init is the modules' evaluation and one GET of the site's identity, from a server on this machine; Lambda adds the",
      "environment's start and the download of the package, on a CPU of its own. Memory is the whole process, Node included.",
    );
    return findings;
  },
};

const fileOf = (name: string, { folder }: Variant): string => join(folder, name, "index.mjs");

function measureSize(findings: Findings, name: string, variant: Variant): void {
  const bytes = readFileSync(fileOf(name, variant));
  findings.add(variant.name, name, size, bytes.length / KiB);
  findings.add(variant.name, name, packed, gzipSync(bytes).length / KiB);
}

async function start(file: string, endpoint: string) {
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", load, file], {
    env: {
      AWS_REGION: "eu-central-1",
      AWS_ACCESS_KEY_ID: "bench",
      AWS_SECRET_ACCESS_KEY: "bench",
      AWS_ENDPOINT_URL: endpoint,
      FARSHORE_SITE_NAME: "bench",
      FARSHORE_BUCKET: bucket,
      FARSHORE_TABLE: "bench-table",
      FARSHORE_STATE_MACHINE_PREFIX: "arn:aws:states:eu-central-1:111111111111:stateMachine:farshore-bench-",
    },
  });
  const [ms, cpuMicroseconds, bytes] = z.tuple([z.number(), z.number(), z.number()]).parse(JSON.parse(stdout));
  return { ms, cpuMicroseconds, bytes };
}

/** As much of S3 as a function's start needs. */
async function siteOfOneObject(): Promise<{ readonly server: Server; readonly url: string }> {
  const siteId = newId(new SystemClock(), new SystemRandom());
  const identity = JSON.stringify({ formatVersion: 1, siteId, name: "bench", createdAt: 0 });
  const server = createServer((_, response) => void response.end(identity));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}
