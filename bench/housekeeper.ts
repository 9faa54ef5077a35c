/**
 * A process of its own, until killed: the site of another VPG. `none`: it takes batches as fast as it can. `care`: it also compacts, thins,
 * packs and collects the journal after each sixteen of them. `scrub`: it has a journal, and reads it back again and again at the rate of
 * `farshore scrub start`. Arguments: FOLDER none|care|scrub. Says `ready` when it has begun.
 */
import { compactJournal } from "#core/compaction/compact.ts";
import { getVpg } from "#core/protection/vpg-store.ts";
import { collectJournal } from "#core/retention/collect.ts";
import { retainJournal } from "#core/retention/retain.ts";
import { askJournalRound, scrubJournal } from "#core/scrub/scrub-journals.ts";
import { AgedClock } from "./aged-clock.ts";
import { agedRetention, agedShape } from "./compaction.ts";
import { makeSite, writeHistory } from "./history.ts";
import { agedBatchesQuick } from "./limits.ts";

const [folder = "", care = ""] = process.argv.slice(2);
const clock = new AgedClock();
const made = await makeSite(folder, agedShape.volumeBytes, { clock, retention: agedRetention });
const { site, vpg } = made;
const { vpgId } = vpg;
if (care === "scrub") {
  await writeHistory(made, { ...agedShape, batches: agedBatchesQuick });
  console.log("ready");
  for (;;) {
    await askJournalRound(site, vpg);
    await scrubJournal(site, vpg, clock.monotonic() + 1000);
    await clock.sleep(100);
  }
}
console.log("ready");
await writeHistory(made, { ...agedShape, batches: Number.MAX_SAFE_INTEGER }, async (count) => {
  clock.advance(count * 60_000);
  if (care === "none") return;
  await compactJournal(site, vpgId);
  await retainJournal(site, await getVpg(site, vpgId));
  await collectJournal(site, await getVpg(site, vpgId));
});
