import { z } from "zod";
import type { CreateVpg } from "#core/api/site-api.ts";
import { createVpgSchema } from "#core/api/site-api.ts";
import { InvalidInput } from "#core/errors.ts";
import { nameSchema } from "#core/ids.ts";
import { boundText } from "#core/json.ts";
import { parseBytes, parseDuration, parseRate } from "#core/units.ts";
import { readToml } from "./read-toml.ts";
import { parseSelector } from "./selector.ts";

/** A units parser as a zod transform: its message becomes the key's. */
const parsedBy = (parse: (text: string) => number) =>
  z.string().transform((text, context) => {
    try {
      return parse(text);
    } catch (error) {
      context.addIssue({ code: "custom", message: error instanceof Error ? error.message : String(error) });
      return z.NEVER;
    }
  });
const duration = parsedBy(parseDuration);
const bytes = parsedBy(parseBytes);
const rate = parsedBy(parseRate);

const triggerSchema = z.strictObject({
  policy: z.string().optional(),
  minimum_duration: duration.optional(),
  cool_down: duration.optional(),
  approval_expiry: duration.optional(),
  priority: z.int().optional(),
  depends_on: z.array(z.string()).optional(),
  quorum: z.string().optional(),
  confirm_by: z.array(z.string()).optional(),
  alarms: z.array(z.string()).optional(),
  regions: z.array(z.string()).optional(),
  self_fence: z.boolean().optional(),
  accept_two_copies: z.string().optional(),
  shutdown: z.string().optional(),
  grace: duration.optional(),
  commit_policy: z.enum(["none", "commit", "rollback"]).optional(),
  commit_after: duration.optional(),
  checkpoint: z.string().optional(),
});

const retentionFileSchema = z.strictObject({
  tiers: z.array(z.strictObject({ every: duration, for: duration })).optional(),
  tagged: duration.optional(),
  journal_limit: bytes.optional(),
  at_limit: z.string().optional(),
});

/** The table `[retention]`. */
function retentionOf({ tiers, tagged, ...read }: z.infer<typeof retentionFileSchema>): unknown {
  const limit = { bytes: read.journal_limit, policy: read.at_limit };
  return {
    tiers: tiers?.map((tier) => ({ everyMs: tier.every, forMs: tier.for })),
    taggedMs: tagged,
    ...(limit.bytes === undefined && limit.policy === undefined ? {} : { journalLimit: limit }),
  };
}

/** The table `[scrub]`. */
const scrubOf = (rate: number | undefined): unknown => (rate === undefined ? {} : { journalBytesPerSecond: rate });

const fileSchema = z.strictObject({
  name: nameSchema,
  protected_site: nameSchema,
  source_gateway: nameSchema,
  recovery_gateway: nameSchema.optional(),
  compute: z.enum(["gateway", "none"]).default("gateway"),
  target_rpo: duration.optional(),
  checkpoint_interval: duration.optional(),
  history: duration.optional(),
  vm: z.array(
    z.strictObject({
      name: nameSchema,
      boot_group: z.int().optional(),
      source_gateway: nameSchema.optional(),
      volume: z.array(
        z.strictObject({
          name: nameSchema,
          size: bytes,
          sector: z.union([z.literal(512), z.literal(4096)]).optional(),
        }),
      ),
    }),
  ),
  boot_group: z.array(z.strictObject({ number: z.int(), delay: duration })).default([]),
  trigger: triggerSchema.optional(),
  retention: retentionFileSchema.optional(),
  scrub: z.strictObject({ journal_rate: z.union([z.literal("0").transform(() => 0), rate]).optional() }).optional(),
});

/** The table `[trigger]`; what it leaves out is the site's to fill in. */
function triggerOf(read: z.infer<typeof triggerSchema>): unknown {
  const { shutdown, grace, commit_policy: action, commit_after: afterMs, checkpoint } = read;
  return {
    policy: read.policy,
    minimumDurationMs: read.minimum_duration,
    coolDownMs: read.cool_down,
    approvalExpiryMs: read.approval_expiry,
    priority: read.priority,
    dependsOn: read.depends_on,
    quorum: read.quorum,
    confirmBy: read.confirm_by,
    alarms: read.alarms,
    regions: read.regions,
    selfFence: read.self_fence,
    acceptTwoCopies: read.accept_two_copies,
    shutdown:
      shutdown === undefined && grace === undefined ? undefined : { policy: shutdown ?? "none", graceMs: grace ?? 0 },
    commitPolicy: action === undefined ? undefined : { action, ...(afterMs === undefined ? {} : { afterMs }) },
    checkpoint: checkpoint === undefined ? undefined : parseSelector(checkpoint),
  };
}

/** Reads the file of `farshore vpg create`. Throws `InvalidInput` that names the file and the key. */
export function readVpgFile(file: string): CreateVpg {
  const read = readToml(file, fileSchema);
  const asked = {
    name: read.name,
    protectedSite: read.protected_site,
    sourceGateway: read.source_gateway,
    recoveryGateway: read.recovery_gateway ?? null,
    compute: read.compute,
    targetRpoMs: read.target_rpo,
    checkpointIntervalMs: read.checkpoint_interval,
    historyMs: read.history,
    vms: read.vm.map((vm) => ({
      name: vm.name,
      bootGroup: vm.boot_group,
      ...(vm.source_gateway === undefined ? {} : { sourceGateway: vm.source_gateway }),
      volumes: vm.volume.map((volume) => ({ name: volume.name, sizeBytes: volume.size, sectorBytes: volume.sector })),
    })),
    trigger: read.trigger && triggerOf(read.trigger),
    ...(read.retention === undefined ? {} : { retention: retentionOf(read.retention) }),
    ...(read.scrub === undefined ? {} : { scrub: scrubOf(read.scrub.journal_rate) }),
    bootDelays: read.boot_group.map((group) => ({ bootGroup: group.number, delayMs: group.delay })),
  };
  const parsed = createVpgSchema.safeParse(asked, { error: boundText });
  if (!parsed.success) throw new InvalidInput(`${file}: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}
