import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { makeAwsClients } from "#adapters/aws/clients.ts";
import { emptyTable } from "#adapters/aws/empty-table.ts";
import { SystemClock } from "#adapters/embedded/clock.ts";
import { SystemRandom } from "#adapters/embedded/random.ts";
import { listCheckpoints } from "#core/protection/checkpoints.ts";
import { createVpg } from "#core/protection/create-vpg.ts";
import { claimIdentity } from "#core/protection/identity.ts";
import { ingestBatch } from "#core/protection/ingest.ts";
import { openSession } from "#core/protection/open-session.ts";
import { authenticatePrincipal, registerPrincipal } from "#core/protection/principals.ts";
import { claimSite } from "#core/protection/table-layout.ts";
import type { Caller, Site } from "#core/site.ts";
import { newAwsStore } from "../../test/kit/aws-store.ts";
import { useLocalAws } from "../../test/kit/local-aws.ts";
import { makeSite, openAsk, operator, twoVolumes } from "../../test/kit/site.ts";
import { Stream } from "../../test/kit/stream.ts";
import { rebuildDeployedSite } from "./rebuild-aws.ts";

const noon = Date.UTC(2030, 0, 1, 12);
const role = (name: string) => `arn:aws:iam::123456789012:role/${name}`;
const session = "arn:aws:sts::123456789012:assumed-role/paris-gw/i-0";

describe("a site's table on DynamoDB", () => {
  const local = useLocalAws();
  let name: string;
  let site: Site;
  let stream: Stream;
  let source: Caller;

  beforeEach(async () => {
    for (const [variable, value] of Object.entries(local.aws.env)) vi.stubEnv(variable, value);
    const store = await newAwsStore(makeAwsClients(local.place));
    name = store.name;
    const memory = makeSite();
    await claimIdentity(store.objects, "berlin", memory);
    site = { ...memory, objects: store.objects, table: store.table };
    for (const [gateway, of] of [
      [twoVolumes.sourceGateway, "paris-gw"],
      ["gw-recovery", "berlin-gw"],
    ] as const)
      await registerPrincipal(site, { name: gateway, role: "gateway", iamRole: role(of) }, operator);
    source = await authenticatePrincipal(site, session, []);
    const { vpgId } = await createVpg(site, twoVolumes, operator);
    stream = new Stream(vpgId, await openSession(site, source, openAsk(site, vpgId)));
    await ingestBatch(site, source, stream.synced());
    for (let count = 0; count < 30; count += 1) await ingestBatch(site, source, stream.checkpoint(noon + count));
  });
  afterEach(() => vi.unstubAllEnvs());

  const listed = async (of: Site) => (await listCheckpoints(of, stream.vpgId)).checkpoints;
  const whole = () => ({
    client: makeAwsClients(local.place).dynamo,
    tableName: name,
    clock: new SystemClock(),
    random: new SystemRandom(),
  });

  it("is made again from the bucket, and its sessions go on", async () => {
    // Nothing in it says how it is laid out, as in one that an older version wrote.
    await expect(claimSite(site, "berlin", site)).rejects.toMatchObject({ name: "TableBehindBucket" });
    const before = (await listed(site)).map(({ id }) => id);
    expect(before.length).toBeGreaterThan(0);
    await emptyTable(whole());
    const rebuilt = await rebuildDeployedSite({ bucket: name, table: name, region: local.aws.region });
    expect(rebuilt).toMatchObject({ vpgs: [{ name: twoVolumes.name, term: 1, sessions: 1, batches: 31 }], tokens: 2 });
    const anew = { ...site };
    expect(await claimSite(anew, "berlin", anew)).toMatchObject({ name: "berlin" });
    expect((await listed(anew)).map(({ id }) => id)).toEqual(before);
    expect(await authenticatePrincipal(anew, session, [])).toEqual(source);
    expect(await ingestBatch(anew, source, stream.checkpoint(noon + 31))).toMatchObject({ duplicate: false });
  });

  it("is emptied first, 25 items a call, only when that is asked for and confirmed", async () => {
    const asked: string[] = [];
    const deployed = { bucket: name, table: name };
    await expect(rebuildDeployedSite(deployed)).rejects.toMatchObject({ name: "InvalidInput" });
    const refuses = async () => Promise.reject(new Error("no"));
    await expect(rebuildDeployedSite({ ...deployed, mayEmpty: refuses })).rejects.toThrow("no");
    expect(await site.table.get({ pk: "vpg-name", sk: twoVolumes.name })).toBeDefined();
    await site.table.transact([{ put: { pk: "stale", sk: "item" }, fields: {} }]);
    const rebuilt = await rebuildDeployedSite({ ...deployed, mayEmpty: async (site) => void asked.push(site) });
    expect(asked).toEqual(["berlin"]);
    expect(rebuilt.vpgs).toMatchObject([{ batches: 31 }]);
    expect(await site.table.get({ pk: "stale", sk: "item" })).toBeUndefined();
  });

  it("is left alone when the bucket is no site's", async () => {
    const { name: other } = await newAwsStore(makeAwsClients(local.place));
    const wrong = rebuildDeployedSite({ bucket: other, table: name, mayEmpty: async () => undefined });
    await expect(wrong).rejects.toMatchObject({ name: "InvalidInput" });
    expect(await site.table.get({ pk: "vpg-name", sk: twoVolumes.name })).toBeDefined();
  });
});
