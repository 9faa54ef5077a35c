import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { SystemClock } from "#adapters/embedded/clock.ts";
import { FileObjects } from "#adapters/embedded/objects.ts";
import { acquireLock } from "#adapters/embedded/process-lock.ts";
import { SystemRandom } from "#adapters/embedded/random.ts";
import { SqliteTable } from "#adapters/embedded/table.ts";
import { EmbeddedWorkflows } from "#adapters/embedded/workflows/interpreter.ts";
import { Corrupt, InvalidInput } from "#core/errors.ts";
import { idSchema, nameSchema, newId } from "#core/ids.ts";
import { siteKey } from "#core/journal/keys.ts";
import { jsonBytes } from "#core/json.ts";
import type { Log, Objects } from "#core/ports.ts";
import type { Site } from "#core/site.ts";
import { invokeTask, machines } from "./machines.ts";

const identitySchema = z.object({ formatVersion: z.literal(1), siteId: idSchema, name: nameSchema });
type Identity = z.infer<typeof identitySchema>;

export interface OpenedSite {
  readonly site: Site;
  readonly workflows: EmbeddedWorkflows;
  close(): Promise<void>;
}

/**
 * Opens a data directory: `objects/` (the bucket), `table.sqlite`, `workflows.sqlite`. One process at a time: throws
 * `DirectoryInUse` otherwise. `name` makes the site when the directory is new, and must be its name when it isn't.
 */
export async function openSite(options: {
  readonly dataDir: string;
  readonly name: string | undefined;
  readonly log: Log;
}): Promise<OpenedSite> {
  const { dataDir, log } = options;
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const lock = acquireLock(dataDir, "site");
  try {
    const [clock, random] = [new SystemClock(), new SystemRandom()];
    const objects = await FileObjects.open(join(dataDir, "objects"));
    const { siteId, name } = await identify(objects, options, () => newId(clock, random));
    const table = new SqliteTable(join(dataDir, "table.sqlite"));
    const workflows: EmbeddedWorkflows = new EmbeddedWorkflows({
      file: join(dataDir, "workflows.sqlite"),
      clock,
      random,
      log,
      machines,
      invoke: (functionName, payload) => invokeTask(site, functionName, payload),
    });
    const site: Site = { siteId, siteName: name, objects, table, workflows, clock, random, log };
    const close = async () => {
      await workflows.close();
      table.close();
      lock.release();
    };
    return { site, workflows, close };
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** Who the site is stands in its bucket, made once. */
async function identify(
  objects: Objects,
  { dataDir, name }: { readonly dataDir: string; readonly name: string | undefined },
  makeId: () => Identity["siteId"],
): Promise<Identity> {
  if ((await objects.head(siteKey)) === undefined) {
    if (name === undefined)
      throw new InvalidInput(`${dataDir} is no site's data directory: its objects/ holds no ${siteKey}`);
    await objects.put(siteKey, jsonBytes({ formatVersion: 1, siteId: makeId(), name }), { ifAbsent: true });
  }
  const stored: unknown = JSON.parse(Buffer.from(await objects.get(siteKey)).toString("utf8"));
  const identity = identitySchema.safeParse(stored);
  if (!identity.success) throw new Corrupt(`${siteKey} in ${dataDir} is not a site's identity`);
  if (name !== undefined && name !== identity.data.name) {
    throw new InvalidInput(`${dataDir} is the site ${identity.data.name}, not ${name}`);
  }
  return identity.data;
}
