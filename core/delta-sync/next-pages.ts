import type { Id } from "#core/ids.ts";
import { parseSyncPageKey, type SyncPagePlace, syncPrefix } from "#core/journal/keys.ts";
import { sourceGatewaysOf } from "#core/protection/definition.ts";
import { lastSessionOf, type VpgRecord } from "#core/protection/vpg-record.ts";
import { changeOperation, type OperationChange, vpgOf } from "#core/recovery/operation-store.ts";
import { assertStepFits, endedStep, endStep, phaseOf, startedStep, stepNames } from "#core/recovery/steps.ts";
import type { Site } from "#core/site.ts";
import { pagesAtOnceDefault, pagesPerRoundMax } from "#core/sync/limits.ts";

/** What a listing answers at most; fewer mean its end (core/ports.ts). */
const listedAtOnce = 1000;

export interface PageRound {
  readonly pages: readonly SyncPagePlace[];
  /** Where the next round goes on. */
  readonly after: string;
  readonly atOnce: number;
  readonly more: boolean;
}

/**
 * Task next-pages: the next pages whose hashes are here and whose want-lists aren't, as many as a payload holds. `after` is
 * what the round before answered, empty at first. The round that finds none ends the step. Safe to repeat.
 */
export async function nextPages(site: Site, operationId: Id, after: string): Promise<PageRound> {
  const step = stepNames.comparePages;
  const operation = await changeOperation(site, operationId, (record): OperationChange | undefined => {
    if (record.steps[step] !== undefined) return undefined;
    assertStepFits(record, step);
    return {
      change: { phase: phaseOf(record, step), steps: { ...record.steps, [step]: startedStep(site.clock.now()) } },
    };
  });
  const vpg = await vpgOf(site, operation);
  const round = await listRound(site, operationId, vpg, after);
  if (round.pages.length > 0) return round;
  await changeOperation(site, operationId, (record): OperationChange | undefined => {
    const known = record.steps[step];
    if (known?.state !== "running") return undefined;
    const end = endedStep(known, site.clock.now(), {
      state: "done",
      result: "Every page that was hashed is compared.",
    });
    return { change: endStep(record, step, end) };
  });
  return round;
}

async function listRound(site: Site, operationId: Id, vpg: VpgRecord, from: string): Promise<PageRound> {
  const prefix = syncPrefix(vpg.vpgId, operationId);
  // Of a session that is over nobody asks any more.
  const sessions = new Set(sourceGatewaysOf(vpg.definition).map(({ gatewayId }) => lastSessionOf(vpg, gatewayId)));
  const pages: SyncPagePlace[] = [];
  let after = from;
  const round = (): PageRound => {
    return { pages, after, atOnce: site.pagesAtOnce ?? pagesAtOnceDefault, more: pages.length > 0 };
  };
  for (;;) {
    const listed = await site.objects.list(prefix, after === "" ? {} : { after });
    for (const { key } of listed) {
      const place = parseSyncPageKey(key);
      if (place !== undefined && sessions.has(place.session)) {
        const { session, volume, page, what } = place;
        const last = pages.at(-1);
        // The wants of a page stand right behind its hashes.
        if (what === "wants" && last?.session === session && last.volume === volume && last.page === page) pages.pop();
        if (what === "hashes" && pages.length === pagesPerRoundMax) return round();
        if (what === "hashes") pages.push({ session, volume, page });
      }
      after = key;
    }
    if (listed.length < listedAtOnce) return round();
  }
}
