import { z } from "zod";
import { InvalidInput } from "#core/errors.ts";
import { nameSchema } from "#core/ids.ts";
import { protectionLimits } from "#core/protection/limits.ts";
import { type LiveOptions, liveOptionsSchema } from "#core/protection/operation.ts";
import { triggerLimits as limits } from "./limits.ts";

const label = z.string().min(1).max(limits.nameCharactersMax);

/** Who may start a VPG's failover when its source is unreachable, after how long, and how. */
export const triggerPolicySchema = z.strictObject({
  /** off: nobody is told; notify: people are told; approve: an approver says yes; automatic: the site starts it. */
  policy: z.enum(["off", "notify", "approve", "automatic"]).default("notify"),
  minimumDurationMs: z
    .int()
    .min(limits.minimumDurationMsMin)
    .max(limits.minimumDurationMsMax)
    .default(limits.minimumDurationMsDefault),
  /** After an incident has closed, the next opens this much later at the earliest. */
  coolDownMs: z.int().min(0).max(limits.coolDownMsMax).default(limits.coolDownMsDefault),
  approvalExpiryMs: z
    .int()
    .min(limits.approvalExpiryMsMin)
    .max(limits.approvalExpiryMsMax)
    .default(limits.approvalExpiryMsDefault),
  /** 1 starts first. */
  priority: z.int().min(1).max(limits.priorityMax).default(limits.priorityDefault),
  /** Names of VPGs of this site that must be up before this one starts, when they are failed over too. */
  dependsOn: z.array(nameSchema).max(limits.dependenciesMax).default([]),
  /** Of several source gateways: how many must be silent (docs/decisions/0008-what-starts-a-failover.md). */
  quorum: z.enum(["all", "any"]).default("all"),
  /** Sources of custom events that spare the rest of the minimum duration; silence is still needed. */
  confirmBy: z.array(label).max(limits.namesMax).default([]),
  /** Names of CloudWatch alarms that raise suspicion. */
  alarms: z.array(label).max(limits.namesMax).default([]),
  /** AWS regions of the source whose Health events raise suspicion. */
  regions: z.array(label).max(limits.namesMax).default([]),
  /** A person's word that the source's gateways stop serving by themselves once they reach this site: `on_fenced` and `start_without_grant` in their files. */
  selfFence: z.boolean().default(false),
  /** In place of `selfFence`: why it can be borne that two copies run. */
  acceptTwoCopies: z
    .string()
    .min(limits.acceptanceCharactersMin)
    .max(limits.acceptanceCharactersMax)
    .nullable()
    .default(null),
  /** Of the failover that is started. A graceful shutdown can't succeed at a source that is silent. */
  shutdown: liveOptionsSchema.shape.shutdown
    .extend({ policy: z.enum(["none", "force"]) })
    .default({ policy: "none", graceMs: 0 }),
  commitPolicy: liveOptionsSchema.shape.commitPolicy.default({ action: "none" }),
  checkpoint: z
    .union([
      z.strictObject({ kind: z.literal("latest") }),
      z.strictObject({ kind: z.literal("tag"), tag: z.string().min(1).max(protectionLimits.tagBytesMax) }),
    ])
    .default({ kind: "latest" }),
});
export type TriggerPolicy = z.infer<typeof triggerPolicySchema>;

/** How a triggered failover is run. */
export function liveOptionsOf({ checkpoint, shutdown, commitPolicy }: TriggerPolicy): LiveOptions {
  return { checkpoint, shutdown, commitPolicy };
}

/** What the schema can't say. Throws `InvalidInput` naming the field. */
export function checkPolicy(trigger: TriggerPolicy, compute: "gateway" | "none"): void {
  const { policy, selfFence, acceptTwoCopies } = trigger;
  if ((policy === "approve" || policy === "automatic") && compute === "none") {
    throw new InvalidInput(`trigger.policy "${policy}" starts failovers, and compute "none" refuses them`, {
      field: "trigger.policy",
    });
  }
  if (policy === "automatic" && !selfFence && acceptTwoCopies === null) {
    throw new InvalidInput(
      'trigger.policy "automatic" needs selfFence, or acceptTwoCopies with the reason why two copies may run: ' +
        "a source that is cut off goes on serving its VMs until it reaches this site again",
      { field: "trigger.selfFence" },
    );
  }
}
