import { expect, it } from "vitest";
import { newId } from "#core/ids.ts";
import { syncPageKey } from "#core/journal/keys.ts";
import { openSession } from "#core/protection/open-session.ts";
import { changeOperation } from "#core/recovery/operation-store.ts";
import { hashBytes } from "#core/sync/limits.ts";
import { encodePageHashes } from "#core/sync/page-object.ts";
import { makeSite, noWorkflows, openAsk, operator, protect } from "../../test/kit/site.ts";
import { comparePage } from "./compare-page.ts";
import { startDeltaSync } from "./start.ts";

it.each([false, true])(
  "a page is compared while its delta-sync goes on, and no more when that has ended: %s",
  async (ended) => {
    const site = { ...makeSite(), workflows: { ...noWorkflows, start: async () => undefined } };
    const { vpg, source } = await protect(site);
    const { vpgId, term } = vpg;
    const ask = openAsk(site, vpgId);
    const { session } = await openSession(site, source, ask);
    const requestId = newId(site.clock, site.random);
    const { operationId } = await startDeltaSync(site, operator, vpgId, { requestId, options: { force: true } });
    const place = { session, volume: 1, page: 0 };
    const [sizeBytes, upTo] = [ask.volumes[0]?.sizeBytes ?? 0, { session, sequence: 0 }];
    const hashes = { chunks: [0], hashes: new Uint8Array(hashBytes).fill(1) };
    const object = encodePageHashes({ vpgId, operationId, term, ...place, sizeBytes, upTo, ...hashes });
    await site.objects.put(syncPageKey(vpgId, operationId, place, "hashes"), object);
    if (ended)
      await changeOperation(site, operationId, () => ({ change: { phase: "Failed", endedAt: site.clock.now() } }));
    await comparePage(site, operationId, place, async () => undefined);
    const wants = await site.objects.head(syncPageKey(vpgId, operationId, place, "wants"));
    expect(wants === undefined).toBe(ended);
  },
);
