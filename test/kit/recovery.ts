import path from "node:path";
import { SystemRandom } from "#adapters/embedded/random.ts";
import { idSchema } from "#core/ids.ts";
import type { Position } from "#core/journal/position.ts";
import type { Clock, Log, Objects } from "#core/ports.ts";
import type { CommandBody } from "#core/protection/command.ts";
import type { VmHooks } from "../../gateway/config.ts";
import type { CommandContext } from "../../gateway/control/handlers.ts";
import { HttpJournal, type JournalRoutes } from "../../gateway/export/http-journal.ts";
import { openRecoveryHalf } from "../../gateway/export/recovery-half.ts";
import type { RecoveryHalf } from "../../gateway/recovery-half.ts";
import { operationId, vpgId } from "./batches.ts";
import { BucketRoutes } from "./journal-routes.ts";

const shell = (script: string): readonly string[] => ["/bin/sh", "-c", script];

/** Hooks of a VM that "runs" while a file named after it exists, and that write what they are run for into `hooks.log`. */
export function recordingHooks(vm: string, without: readonly ("boot" | "kill" | "status")[] = []): VmHooks {
  const note = `echo "$FARSHORE_ACTION $FARSHORE_VM $FARSHORE_MODE $FARSHORE_CHECKPOINT" >> hooks.log`;
  return {
    ...(without.includes("boot")
      ? {}
      : { boot: shell(`${note}; env | grep FARSHORE_ | sort > ${vm}.env; touch ${vm}.runs`) }),
    ...(without.includes("kill") ? {} : { kill: shell(`${note}; rm -f ${vm}.runs`) }),
    ...(without.includes("status") ? {} : { status: shell(`test -e ${vm}.runs || exit 3`) }),
    timeoutMs: 10_000,
  };
}

export interface RecoveryKit {
  /** The hooks' working directory; `recovery` in it is the half's own. */
  readonly folder: string;
  readonly objects: Objects;
  readonly hooks: ReadonlyMap<string, VmHooks>;
  readonly clock: Clock;
  readonly log: Log;
  readonly routes?: JournalRoutes;
}

export function openKit(kit: RecoveryKit): Promise<RecoveryHalf> {
  const { folder, objects, hooks, clock, log } = kit;
  const routes = kit.routes ?? new BucketRoutes(objects);
  return openRecoveryHalf({
    directory: path.join(folder, "recovery"),
    hooks,
    hookDirectory: folder,
    journal: (vpg, upTo, signal) =>
      new HttpJournal({ routes, vpgId: vpg, upTo, clock, random: new SystemRandom(), log, signal }),
    clock,
    log,
  });
}

/** Runs a command as the gateway's dispatcher would. */
export function runCommand(
  half: RecoveryHalf,
  body: CommandBody,
  context: Partial<CommandContext> = {},
): Promise<Record<string, unknown>> {
  const whole: CommandContext = {
    commandId: `${operationId}.${body.kind}`,
    signal: new AbortController().signal,
    progress: () => undefined,
    ...context,
  };
  const { handlers } = half;
  switch (body.kind) {
    case "attach-volumes":
      return given(handlers["attach-volumes"])(body, whole);
    case "boot-vms":
      return given(handlers["boot-vms"])(body, whole);
    case "stop-vms":
      return given(handlers["stop-vms"])(body, whole);
    case "detach-volumes":
      return given(handlers["detach-volumes"])(body, whole);
    case "promote-volumes":
      return given(handlers["promote-volumes"])(body, whole);
    default:
      throw new TypeError(`${body.kind} is not the recovery half's`);
  }
}

function given<T>(handler: T | undefined): T {
  if (handler === undefined) throw new TypeError("the recovery half lacks a handler");
  return handler;
}

/** The commands of a live failover of VPG `shop`: VM `db` has volumes 1 (`data`) and 2 (`log-disk`), VM `web` has none here. */
export function commandsOf(upTo: Position, sizes: ReadonlyMap<number, number>, mode: "live" | "test" = "live") {
  const base = { operationId: idSchema.parse(operationId), vpgId: idSchema.parse(vpgId), vpgName: "shop" };
  const volumes = [...sizes].map(([volume, sizeBytes]) => ({
    volume,
    vmName: "db",
    name: volume === 1 ? "data" : "log-disk",
    sizeBytes,
    sectorBytes: 512 as const,
  }));
  const checkpointId = `${upTo.session}-${upTo.sequence}`;
  return {
    attach: { kind: "attach-volumes", ...base, mode, upTo: { ...upTo }, checkpointId, volumes },
    boot: { kind: "boot-vms", ...base, mode, vms: ["db", "web"] },
    stop: { kind: "stop-vms", ...base, mode, vms: ["db", "web"] },
    detach: { kind: "detach-volumes", ...base, keepScratchMs: 0 },
    detachKeep: { kind: "detach-volumes", ...base, keepScratchMs: 3_600_000 },
    promote: { kind: "promote-volumes", ...base },
  } as const satisfies Record<string, CommandBody>;
}
