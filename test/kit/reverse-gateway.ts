import { join } from "node:path";
import { SystemRandom } from "#adapters/embedded/random.ts";
import { idSchema } from "#core/ids.ts";
import type { Clock } from "#core/ports.ts";
import { acceptHeartbeat } from "#core/protection/heartbeat.ts";
import { parseGatewayConfig } from "../../gateway/config.ts";
import type { CommandHandlers } from "../../gateway/control/handlers.ts";
import { SiteClient } from "../../gateway/control/site-client.ts";
import { HttpJournal } from "../../gateway/export/http-journal.ts";
import { openRecoveryHalf } from "../../gateway/export/recovery-half.ts";
import type { RecoveryHalf } from "../../gateway/recovery-half.ts";
import { Sources } from "../../gateway/source/sources.ts";
import { StateDirectory } from "../../gateway/state/state-directory.ts";
import { vpgId as journalVpg } from "./batches.ts";
import type { GatewaySite } from "./gateway-site.ts";
import { HastyClock } from "./hasty-clock.ts";
import { BucketRoutes } from "./journal-routes.ts";
import { QuietLog } from "./quiet-log.ts";
import type { RandomJournal } from "./random-journal.ts";

/** One life of a gateway with both halves, without heartbeats; its captures go to `site`. */
export class ReverseGateway {
  readonly sources: Sources;
  readonly recovery: RecoveryHalf;
  readonly handlers: CommandHandlers;
  readonly log: QuietLog;
  /** Other lines of `[source]` in its file, for when it reads that again. */
  readonly configure: (source: string) => void;
  readonly #client: SiteClient;
  readonly #state: StateDirectory;

  private constructor(
    parts: Pick<ReverseGateway, "sources" | "recovery" | "handlers" | "log" | "configure">,
    client: SiteClient,
    state: StateDirectory,
  ) {
    this.sources = parts.sources;
    this.recovery = parts.recovery;
    this.handlers = parts.handlers;
    this.log = parts.log;
    this.configure = parts.configure;
    this.#client = client;
    this.#state = state;
  }

  static async start(
    folder: string,
    site: Pick<GatewaySite, "url">,
    journal: Pick<RandomJournal, "objects">,
    source = "",
    clock: Clock = new HastyClock(),
  ): Promise<ReverseGateway> {
    const head = `site = "${site.url}"\nstate = "state"\n[recovery]\ndirectory = "r"\n[source]\ndrain = "20s"\n`;
    const parse = (lines: string) =>
      parseGatewayConfig(`${head}${lines}\n`, { path: join(folder, "gateway.toml"), token: "token" });
    const config = parse(source);
    if (config.source === undefined) throw new Error("no source");
    const log = new QuietLog();
    const random = new SystemRandom();
    const state = await StateDirectory.open(config.stateDirectory);
    const client = new SiteClient(config.site, 4);
    const routes = new BucketRoutes(journal.objects);
    const vpgId = idSchema.parse(journalVpg);
    const recovery = await openRecoveryHalf({
      directory: join(folder, "r"),
      hooks: new Map(),
      hookDirectory: folder,
      journal: (_, upTo, signal) => new HttpJournal({ routes, vpgId, upTo, clock, random, log, signal }),
      clock,
      log,
    });
    const captured = await recovery.captured();
    const { hooks, directory } = config;
    const own = { address: config.site, site: client, state, hooks, directory };
    const onCrash = (error: Error): void => {
      throw error;
    };
    let reloaded = config.source;
    const configure = (lines: string): void => {
      reloaded = parse(lines).source ?? reloaded;
    };
    const parts = { ...own, config: config.source, reload: () => reloaded, clock, random, log, onCrash, captured };
    const sources = await Sources.open(parts);
    await recovery.resume();
    for (const operation of captured) await sources.resume(operation, recovery);
    sources.start();
    const handlers = sources.handlersFor({ journals: true, own: { recovery, link: { address: config.site, client } } });
    return new ReverseGateway({ sources, recovery, handlers, log, configure }, client, state);
  }

  /** A heartbeat that says what is captured, and what the site answers to it. Resolves with what is in the way of an edited definition. */
  async beat({ site, protectedVpg }: Pick<GatewaySite, "site" | "protectedVpg">): Promise<string | undefined> {
    const streams = this.sources.streams();
    const heard = {
      version: "1",
      sampledAt: 0,
      processId: idSchema.parse(journalVpg),
      attachedOperations: [],
      streams,
    };
    const reply = await acceptHeartbeat(site, protectedVpg.source, heard);
    this.sources.told(reply.streams, streams);
    return this.sources.status()[0]?.stream?.configurationProblem;
  }

  async close(): Promise<void> {
    await this.sources.close();
    await this.recovery.close();
    await this.#client.close();
    await this.#state.close();
  }
}
