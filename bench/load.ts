import { z } from "zod";
import { SystemClock } from "#adapters/embedded/clock.ts";
import { SystemRandom } from "#adapters/embedded/random.ts";
import { type createVpgSchema, vpgViewSchema } from "#core/api/site-api.ts";
import { newId } from "#core/ids.ts";
import { SiteClient } from "../gateway/control/site-client.ts";
import type { OpenedSession } from "./batch-maker.ts";
import type { BenchStage } from "./stage.ts";

const volumeBytes = 2 ** 30;

/** A gateway's session at the stage's recovery site, for batches that no gateway makes. */
export interface Load {
  readonly url: string;
  readonly token: string;
  readonly session: OpenedSession;
}

/** Makes a VPG `name` of one volume, recovered by that gateway if one is named, and opens a session for it. */
export async function openLoad(stage: BenchStage, name: string, recoveryGateway: string | null = null): Promise<Load> {
  const { FARSHORE_SITE: url = "", FARSHORE_TOKEN: operator = "" } = stage.stage.env;
  const post = async (path: string, body: unknown): Promise<unknown> => {
    const headers = { authorization: `Bearer ${operator}`, "content-type": "application/json" };
    const reply = await fetch(`${url}/v1${path}`, { method: "POST", headers, body: JSON.stringify(body) });
    if (!reply.ok) throw new Error(`POST ${path}: ${await reply.text()}`);
    return await reply.json();
  };
  const { token } = z.object({ token: z.string() }).parse(await post("/tokens", { name, role: "gateway" }));
  const disk = { name: "disk", sizeBytes: volumeBytes, sectorBytes: 512 as const };
  const vpg: z.input<typeof createVpgSchema> = {
    name,
    protectedSite: "elsewhere",
    sourceGateway: name,
    recoveryGateway,
    compute: recoveryGateway === null ? "none" : "gateway",
    vms: [{ name: "vm", volumes: [disk] }],
  };
  const { vpgId } = vpgViewSchema.parse(await post("/vpgs", vpg));
  const client = new SiteClient({ url, access: { kind: "token", token } }, 1);
  try {
    const opened = await client.openSession({
      vpgId,
      nonce: newId(new SystemClock(), new SystemRandom()),
      lastSession: 0,
      acknowledgedBatch: -1,
      cleanlyClosed: false,
      acceptRegression: false,
      volumes: [{ vmName: "vm", ...disk }],
    });
    const { term, session, configRevision } = opened;
    const volume = opened.volumes[0]?.volume ?? 1;
    return { url, token, session: { vpgId, term, session, configRevision, volume, volumeBytes } };
  } finally {
    await client.close();
  }
}
