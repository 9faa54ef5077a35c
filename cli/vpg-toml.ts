import { stringify } from "smol-toml";
import type { CreateVpg } from "#core/api/site-api.ts";

const durationUnits = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1000],
  ["ms", 1],
] as const;
const byteUnits = [
  ["TiB", 2 ** 40],
  ["GiB", 2 ** 30],
  ["MiB", 2 ** 20],
  ["KiB", 2 ** 10],
  ["B", 1],
] as const;

/** In the largest unit that says it exactly: the parsers of core/units.ts read the same number again. */
function exactly(value: number, units: readonly (readonly [string, number])[]): string {
  const [unit, factor] = units.find(([, each]) => value % each === 0) ?? ["", 1];
  return value === 0 ? `0${units.at(-1)?.[0] ?? ""}` : `${value / factor}${unit}`;
}
const duration = (ms: number): string => exactly(ms, durationUnits);
const size = (bytes: number): string => exactly(bytes, byteUnits);

/** The file of `farshore vpg create` and `edit` that says this definition whole: every setting, also where it is the default. */
export function vpgToml(definition: CreateVpg): string {
  const { name, protectedSite, sourceGateway, recoveryGateway, compute, vms, bootDelays, trigger, retention, scrub } =
    definition;
  const { targetRpoMs, checkpointIntervalMs, historyMs } = definition;
  return stringify({
    name,
    protected_site: protectedSite,
    source_gateway: sourceGateway,
    ...(recoveryGateway === null ? {} : { recovery_gateway: recoveryGateway }),
    compute,
    target_rpo: duration(targetRpoMs),
    checkpoint_interval: duration(checkpointIntervalMs),
    history: duration(historyMs),
    vm: vms.map((vm) => ({
      name: vm.name,
      boot_group: vm.bootGroup,
      ...(vm.sourceGateway === undefined ? {} : { source_gateway: vm.sourceGateway }),
      volume: vm.volumes.map((volume) => ({
        name: volume.name,
        size: size(volume.sizeBytes),
        sector: volume.sectorBytes,
      })),
    })),
    boot_group: bootDelays.map(({ bootGroup, delayMs }) => ({ number: bootGroup, delay: duration(delayMs) })),
    trigger: triggerToml(trigger),
    ...(retention === undefined ? {} : { retention: retentionToml(retention) }),
    ...(scrub === undefined ? {} : { scrub: scrubToml(scrub) }),
  });
}

/** Rates have no unit below 1 kB/s: an odd one is said to the next above. */
function scrubToml({ journalBytesPerSecond }: NonNullable<CreateVpg["scrub"]>): Record<string, unknown> {
  if (journalBytesPerSecond === undefined) return {};
  return { journal_rate: journalBytesPerSecond === 0 ? "0" : `${Math.ceil(journalBytesPerSecond / 1000)}kB/s` };
}

function retentionToml({
  tiers,
  taggedMs,
  journalLimit,
}: NonNullable<CreateVpg["retention"]>): Record<string, unknown> {
  return {
    tiers: tiers.map(({ everyMs, forMs }) => ({ every: duration(everyMs), for: duration(forMs) })),
    tagged: duration(taggedMs),
    ...(journalLimit === undefined ? {} : { journal_limit: size(journalLimit.bytes), at_limit: journalLimit.policy }),
  };
}

function triggerToml(trigger: CreateVpg["trigger"]): Record<string, unknown> {
  const { policy, minimumDurationMs, coolDownMs, approvalExpiryMs, priority, dependsOn, quorum, confirmBy } = trigger;
  const { alarms, regions, selfFence, acceptTwoCopies, shutdown, commitPolicy, checkpoint } = trigger;
  return {
    policy,
    minimum_duration: duration(minimumDurationMs),
    cool_down: duration(coolDownMs),
    approval_expiry: duration(approvalExpiryMs),
    priority,
    depends_on: dependsOn,
    quorum,
    confirm_by: confirmBy,
    alarms,
    regions,
    self_fence: selfFence,
    ...(acceptTwoCopies === null ? {} : { accept_two_copies: acceptTwoCopies }),
    shutdown: shutdown.policy,
    grace: duration(shutdown.graceMs),
    commit_policy: commitPolicy.action,
    ...(commitPolicy.action === "none" ? {} : { commit_after: duration(commitPolicy.afterMs) }),
    checkpoint: checkpoint.kind === "tag" ? `tag:${checkpoint.tag}` : "latest",
  };
}
