import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createLog } from "#adapters/embedded/log.ts";
import { InvalidInput } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import type { Log } from "#core/ports.ts";
import { createToken } from "#core/protection/tokens.ts";
import type { Site } from "#core/site.ts";
import { handler as reconcile } from "../../functions/reconciler/handler.ts";
import { runWithSite } from "../../functions/shared/site.ts";
import { type HttpAddress, HttpServer, type Tls } from "./http-server.ts";
import { siteLimits } from "./limits.ts";
import { openSite } from "./open-site.ts";

export interface ServeOptions {
  readonly dataDir: string;
  readonly name: string;
  /** `HOST:PORT`; port 0 asks for a free one. */
  readonly listen: string;
  /** Files in PEM. */
  readonly tls?: { readonly cert: string; readonly key: string };
  readonly log?: Log;
}

export interface ServedSite {
  readonly url: string;
  readonly siteId: Id;
  readonly operatorTokenFile: string;
  close(): Promise<void>;
}

/** An embedded site: the functions and state machines of a deployed one, over files and SQLite in `dataDir`, in this process. */
export async function serveSite(options: ServeOptions): Promise<ServedSite> {
  const address = parseAddress(options.listen);
  const log = options.log ?? createLog({ fields: { site: options.name } });
  const { site, workflows, close } = await openSite({ dataDir: options.dataDir, name: options.name, log });
  try {
    const operatorTokenFile = await firstOperator(site, options.dataDir);
    const server = new HttpServer(site, tlsOf(options));
    const url = await server.listen(address);
    const resumed = await workflows.resume();
    const schedule = new Schedule(site);
    log.info("site-serves", { url, siteId: site.siteId, resumed });
    return {
      url,
      siteId: site.siteId,
      operatorTokenFile,
      async close() {
        await server.close();
        await schedule.stop();
        await close();
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Runs the reconciler now and then, one at a time, as a scheduled rule does on AWS. */
class Schedule {
  readonly #site: Site;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  constructor(site: Site) {
    this.#site = site;
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await runWithSite(this.#site, () => reconcile({})).catch((error: unknown) =>
        this.#site.log.error("reconcile-failed", { cause: error }),
      );
      await this.#site.clock.sleep(siteLimits.reconcileMs, this.#stop.signal).catch(() => undefined);
    }
  }
}

/** The first start makes an operator's token, readable by the owner alone; with it people make all others. */
async function firstOperator(site: Site, dataDir: string): Promise<string> {
  const file = join(dataDir, "operator.token");
  if (!existsSync(file)) {
    const caller = { name: "site-serve", role: "operator", gatewayId: null } as const;
    const { token } = await createToken(site, { name: "operator", role: "operator" }, caller);
    writeFileSync(file, `${token}\n`, { mode: 0o600 });
  }
  return file;
}

function parseAddress(listen: string): HttpAddress {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(listen) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || Number(digits) > 65_535) {
    throw new InvalidInput(`--listen ${listen}: write HOST:PORT, such as 127.0.0.1:7700`);
  }
  return { host, port: Number(digits) };
}

function tlsOf({ tls }: ServeOptions): Tls | undefined {
  if (tls === undefined) return undefined;
  const read = (file: string) => {
    try {
      return readFileSync(file);
    } catch (cause) {
      throw new InvalidInput(`cannot read ${file}: ${String(cause)}`, { file }, { cause });
    }
  };
  return { cert: read(tls.cert), key: read(tls.key) };
}
