import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { chunkBytes } from "#core/blocks/geometry.ts";
import { startDeltaSync } from "#core/delta-sync/start.ts";
import { idSchema } from "#core/ids.ts";
import { batchHash, sha256 } from "#core/journal/hash.ts";
import { syncPageKey } from "#core/journal/keys.ts";
import type { Clock } from "#core/ports.ts";
import { toHex } from "#core/protection/batch-row.ts";
import { type Command, finalSchema } from "#core/protection/command.ts";
import { pendingCommands, reportCommand } from "#core/protection/commands.ts";
import { acceptHeartbeat } from "#core/protection/heartbeat.ts";
import { ingestBatch, type SentBatch } from "#core/protection/ingest.ts";
import { moveOptionsSchema } from "#core/protection/operation.ts";
import { positionSchema } from "#core/protection/term.ts";
import { getVpg } from "#core/protection/vpg-store.ts";
import { startOperation } from "#core/recovery/start-operation.ts";
import type { Site } from "#core/site.ts";
import { encodePageHashes } from "#core/sync/page-object.ts";
import { effectsFile, effectsIn, mortalSite, smallShop } from "../kit/die-in-a-failover.ts";
import type { ProtectedShop } from "../kit/failover-site.ts";
import { operationId } from "../kit/failover-world.ts";
import { operator } from "../kit/site.ts";
import type { Stream } from "../kit/stream.ts";

export const kinds = ["move", "delta-sync"] as const;
type Kind = (typeof kinds)[number];

const moveOptions = moveOptionsSchema.parse({
  ...{ graceMs: 1000, commitPolicy: { action: "commit", afterMs: 0 }, source: "remove", verify: true },
});

/** What the source's gateway still has to send, the same bytes in each of its lives, and what it answers then. */
const scriptSchema = z.object({
  source: idSchema,
  recovery: idSchema,
  batches: z.array(z.object({ vpgId: idSchema, term: z.int(), session: z.int(), batch: z.int(), body: z.base64() })),
  final: finalSchema,
  end: positionSchema,
});
type Script = z.infer<typeof scriptSchema>;
const scriptFile = (folder: string): string => join(folder, "script.json");

/** Lays down what the gateways will do: the end of the session, or the checkpoint behind a sync whose page differs in one chunk. */
export function writeScript(folder: string, kind: Kind, { vpg, source, recovery, stream }: ProtectedShop<Clock>): void {
  const time = Date.UTC(2030, 0, 1, 12, 1);
  const end = { session: stream.session, sequence: stream.sequence };
  const sent = [stream.next([], [{ kind: "marker", time, tag: "" }], time)];
  if (kind === "move") {
    sent.push(stream.next([], [{ kind: "final", operationId, hash: new Uint8Array(32) }], time));
  }
  const script: Script = {
    ...{ source: source.gatewayId, recovery: recovery.gatewayId, end },
    batches: sent.map((batch) => ({ ...batch, vpgId: vpg.vpgId, body: Buffer.from(batch.body).toString("base64") })),
    final: finalOf(stream, sent.at(-1)),
  };
  writeFileSync(scriptFile(folder), JSON.stringify(script));
  writeFileSync(effectsFile(folder), "");
}

function finalOf({ session, sequence }: Stream, last: SentBatch | undefined): Script["final"] {
  if (last === undefined) throw new TypeError("a script sends something");
  const checkpoint = { session, sequence: sequence - 1 };
  return { session, sequence, batch: last.batch, hash: toHex(batchHash(last.body)), checkpoint };
}

/** The one page of the one volume, as a gateway uploads it: its last chunk is unlike the journal's. */
async function uploadPage(site: Site, { session, sequence }: Script["end"]): Promise<void> {
  const { vpgId, term } = await getVpg(site, smallShop.name);
  const sizeBytes = smallShop.vms[0]?.volumes[0]?.sizeBytes ?? 0;
  const count = sizeBytes / chunkBytes;
  const zero = sha256(new Uint8Array(chunkBytes));
  const hashes = Buffer.concat([...Array.from({ length: count - 1 }, () => zero), sha256(new Uint8Array([1]))]);
  const place = { session, volume: 1, page: 0 };
  const upTo = { session, sequence };
  const chunks = Array.from({ length: count }, (_, chunk) => chunk);
  const body = encodePageHashes({ ...place, vpgId, operationId, term, sizeBytes, hashes, upTo, chunks });
  await site.objects.put(syncPageKey(vpgId, operationId, place, "hashes"), body);
}

/** What a gateway does for a command and answers; the same again when it is asked again. */
async function obey(site: Site, { body }: Command, script: Script): Promise<Record<string, unknown>> {
  const send = async (): Promise<void> => {
    const caller = { name: "gw-berlin", role: "gateway" as const, gatewayId: script.source };
    for (const batch of script.batches) {
      await ingestBatch(site, caller, { ...batch, ageMs: 0, body: Buffer.from(batch.body, "base64") });
    }
  };
  switch (body.kind) {
    case "close-volumes":
      await send();
      return { final: script.final };
    case "hash-volumes":
      await uploadPage(site, script.end);
      return { pages: 1, hashedBytes: chunkBytes };
    case "ship-wanted":
      await send();
      return { pages: 1, pagesAlone: 0, differingBytes: chunkBytes, shippedBytes: chunkBytes, end: script.end };
    case "attach-volumes":
      return { exports: { "1": "nbd+unix:///data?socket=/s" } };
    case "boot-vms":
      return { booted: ["db"], withoutHook: [] };
    case "remove-source":
      return { removed: ["db"], withoutHook: [] };
    case "verify-volumes":
      return { hashedBytes: chunkBytes, differingBytes: 0 };
    default:
      return { bytes: 4096 };
  }
}

/** A heartbeat of each gateway; what was done before the last death is done again, as gateways do, and noted once. */
async function serve(site: Site, folder: string, script: Script): Promise<void> {
  for (const gatewayId of [script.source, script.recovery]) {
    const caller = { name: "gw", role: "gateway" as const, gatewayId };
    const beat = { version: "1", sampledAt: site.clock.now(), processId: gatewayId, attachedOperations: [] };
    await acceptHeartbeat(site, caller, { ...beat, streams: [] });
    for (const command of await pendingCommands(site, gatewayId)) {
      const result = await obey(site, command, script);
      const { commandId } = command;
      if (!effectsIn(folder).includes(commandId)) appendFileSync(effectsFile(folder), `${commandId}\n`);
      await reportCommand(site, caller, commandId, { state: "done", result });
    }
  }
}

/**
 * Run as a process: `node die-in-an-operation.ts FOLDER KIND N` is a site and its gateways on real files and the real clock, which kills
 * itself with SIGKILL right after the N-th event of its life. Exits when the operation has ended.
 */
async function live(folder: string, kind: Kind, eventsMax: number): Promise<void> {
  const script = scriptSchema.parse(JSON.parse(readFileSync(scriptFile(folder), "utf8")));
  const { site, isOver, close } = await mortalSite(folder, eventsMax);
  const vpg = await getVpg(site, smallShop.name);
  await serve(site, folder, script);
  const requestId = operationId;
  if (kind === "delta-sync") await startDeltaSync(site, operator, vpg.vpgId, { requestId, options: { force: true } });
  else await startOperation(site, operator, vpg, { kind, options: moveOptions, requestId });
  while (!(await isOver())) {
    await serve(site, folder, script);
    await sleep(2);
  }
  await close();
}

if (import.meta.main) {
  const [folder = "", kind, eventsMax = "0"] = process.argv.slice(2);
  if (!existsSync(scriptFile(folder))) throw new Error(`${folder} has no script`);
  await live(folder, z.enum(kinds).parse(kind), Number(eventsMax));
}
