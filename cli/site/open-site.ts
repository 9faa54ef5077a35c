import { join } from "node:path";
import { SystemClock } from "#adapters/embedded/clock.ts";
import { FileObjects } from "#adapters/embedded/objects.ts";
import { readPeerToken } from "#adapters/embedded/peer-tokens.ts";
import { acquireLock } from "#adapters/embedded/process-lock.ts";
import { SystemRandom } from "#adapters/embedded/random.ts";
import { SqliteTable } from "#adapters/embedded/table.ts";
import { EmbeddedWorkflows } from "#adapters/embedded/workflows/interpreter.ts";
import { HttpPeers } from "#adapters/http-peers.ts";
import { comparePage } from "#core/delta-sync/compare-page.ts";
import type { Log, Notify } from "#core/ports.ts";
import { claimSite } from "#core/protection/table-layout.ts";
import type { Site } from "#core/site.ts";
import { CompareAhead } from "./compare-ahead.ts";
import { siteLimits } from "./limits.ts";
import { invokeTask, machines } from "./machines.ts";
import { WindowThreads } from "./window-threads.ts";

export interface OpenedSite {
  readonly site: Site;
  readonly workflows: EmbeddedWorkflows;
  close(): Promise<void>;
}

/**
 * Opens a data directory: `objects/` (the bucket), `table.sqlite`, `workflows.sqlite`. One process at a time: throws
 * `DirectoryInUse` otherwise. The first opening gives the site its identity; later ones must bring the same name. Throws
 * `TableBehindBucket` for a table that this version can't read.
 */
export async function openSite(dataDir: string, name: string, log: Log, notify: Notify): Promise<OpenedSite> {
  const lock = acquireLock(dataDir, "site");
  try {
    const [clock, random] = [new SystemClock(), new SystemRandom()];
    const objects = await FileObjects.open(join(dataDir, "objects"));
    const table = new SqliteTable(join(dataDir, "table.sqlite"));
    const { siteId } = await claimSite({ objects, table }, name, { clock, random }).catch((error: unknown) => {
      table.close();
      throw error;
    });
    const workflows: EmbeddedWorkflows = new EmbeddedWorkflows({
      file: join(dataDir, "workflows.sqlite"),
      clock,
      random,
      log,
      machines,
      invoke: (functionName, payload) => invokeTask(site, functionName, payload),
    });
    const { pagesAtOnce, heartbeats } = siteLimits;
    const peers = new HttpPeers({ tokenOf: (peer) => readPeerToken(dataDir, peer), clock });
    const ports = { objects, table, workflows, clock, random, log, notify, peers };
    const hasher = new WindowThreads();
    const ahead = new CompareAhead((...page) => comparePage(site, ...page), log);
    const pageArrived: CompareAhead["arrived"] = (...page) => ahead.arrived(...page);
    const site: Site = { siteId, siteName: name, ...ports, pagesAtOnce, heartbeats, pageArrived, hasher };
    const close = async () => {
      await ahead.close();
      await workflows.close();
      await hasher.close();
      table.close();
      lock.release();
    };
    return { site, workflows, close };
  } catch (error) {
    lock.release();
    throw error;
  }
}
