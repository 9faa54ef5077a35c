import { createLog } from "#adapters/embedded/log.ts";
import { LogNotify } from "#adapters/embedded/notify.ts";
import { sweepSyncObjects } from "#core/delta-sync/sweep.ts";
import { type Id, newId } from "#core/ids.ts";
import type { Log } from "#core/ports.ts";
import { hearAgain } from "#core/recovery/hear-again.ts";
import { handler as collectJournals } from "../../functions/collect-journal/handler.ts";
import { handler as compactJournals } from "../../functions/compact-journal/handler.ts";
import { handler as gatewayApi } from "../../functions/gateway-api/handler.ts";
import { handler as ingestBatch } from "../../functions/ingest-batch/handler.ts";
import { handler as reconcile } from "../../functions/reconciler/handler.ts";
import { handler as scrubJournals } from "../../functions/scrub-journal/handler.ts";
import { httpLimits } from "../../functions/shared/limits.ts";
import { runWithSite } from "../../functions/shared/site.ts";
import type { TaskHandler } from "../../functions/shared/task-handler.ts";
import { handler as siteApi } from "../../functions/site-api/handler.ts";
import { handler as watchSources } from "../../functions/site-monitor/handler.ts";
import { type HttpServer, type Mount, startHttpServer, type TlsFiles } from "./http-server.ts";
import { lambdaContext } from "./lambda-context.ts";
import { siteLimits } from "./limits.ts";
import { assertLoopback, parseListen } from "./listen-address.ts";
import { openSite } from "./open-site.ts";
import { ensureOperatorToken } from "./operator-token.ts";
import { schedule } from "./scheduler.ts";

export interface ServeOptions {
  readonly dataDir: string;
  readonly name: string;
  /** `HOST:PORT`; port 0 takes a free one. Anything but loopback needs `tls`. */
  readonly listen: string;
  readonly tls?: TlsFiles;
  readonly log?: Log;
  /** A program that is told what people should know (adapters/embedded/notify.ts). */
  readonly notifyCommand?: string;
}

export interface ServedSite {
  readonly url: string;
  readonly siteId: Id;
  readonly operatorTokenFile: string;
  /** Takes no more requests, waits for those under way, and leaves executions to the next start. */
  close(): Promise<void>;
}

/** The function URLs of a deployed site, by path. */
const mounts: readonly Mount[] = [
  {
    prefix: "/gateway/v1/batches/",
    functionName: "ingest-batch",
    handler: ingestBatch,
    bodyBytesMax: httpLimits.batchBytesMax,
  },
  { prefix: "/gateway/", functionName: "gateway-api", handler: gatewayApi, bodyBytesMax: httpLimits.jsonBytesMax },
  { prefix: "/", functionName: "site-api", handler: siteApi, bodyBytesMax: httpLimits.jsonBytesMax },
];

/** An embedded site: the functions and state machines of a deployed one, over files and SQLite in `dataDir`, in this process. */
export async function serveSite(options: ServeOptions): Promise<ServedSite> {
  const { dataDir, name, tls, log = createLog({ fields: { site: name } }) } = options;
  const notify = new LogNotify(log, options.notifyCommand);
  const address = parseListen(options.listen);
  if (tls === undefined) assertLoopback(address);
  const { site, workflows, close } = await openSite(dataDir, name, log, notify);
  let server: HttpServer | undefined;
  try {
    const heardAgain = await hearAgain(site);
    const operatorTokenFile = await ensureOperatorToken(site, dataDir);
    const listening = await startHttpServer(site, mounts, address, tls);
    server = listening;
    const resumed = await workflows.resume();
    const call = (name: string, handler: TaskHandler<unknown>, input: unknown) => () => {
      const context = lambdaContext(name, newId(site.clock, site.random));
      return runWithSite(site, () => handler(input, context));
    };
    const {
      reconcileEveryMs,
      monitorEveryMs: everyMs,
      compactEveryMs,
      collectEveryMs,
      sweepEveryMs,
      scrubEveryMs,
    } = siteLimits;
    const schedules = [
      schedule("reconcile", call("reconciler", reconcile, {}), reconcileEveryMs, log),
      schedule("compact", call("compact-journal", compactJournals, {}), compactEveryMs, log),
      schedule("collect", call("collect-journal", collectJournals, {}), collectEveryMs, log),
      schedule("scrub", call("scrub-journal", scrubJournals, {}), scrubEveryMs, log),
      schedule("sweep-syncs", () => sweepSyncObjects(site), sweepEveryMs, log),
      schedule("monitor", call("site-monitor", watchSources, { everyMs }), everyMs, log),
    ];
    log.info("site-serves", { url: listening.url, siteId: site.siteId, resumed, heardAgain });
    return {
      url: listening.url,
      siteId: site.siteId,
      operatorTokenFile,
      async close() {
        await listening.close();
        await Promise.all(schedules.map((running) => running.stop()));
        await close();
      },
    };
  } catch (error) {
    await server?.close();
    await close();
    throw error;
  }
}
