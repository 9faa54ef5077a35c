import { z } from "zod";
import {
  ConditionFailed,
  Forbidden,
  InvalidInput,
  LimitExceeded,
  NotFound,
  TaskTimedOut,
  Transient,
} from "#core/errors.ts";
import { type Id, idSchema } from "#core/ids.ts";
import { checkStored, tableFields } from "#core/json.ts";
import type { TableAction } from "#core/ports.ts";
import type { Caller, Site } from "#core/site.ts";
import { equalValues } from "#core/table-rules.ts";
import { type Command, type CommandBody, type CommandReport, commandSchema, unhurriedKinds } from "./command.ts";
import { items } from "./items.ts";
import { protectionLimits as limits } from "./limits.ts";

const storedSchema = z.strictObject({
  gatewayId: idSchema,
  command: commandSchema,
  /** Each report of progress moves the expiry this far from now. */
  lifeMs: z.int().min(1),
  /** The workflow step that waits for the end; null when nobody does. */
  waiter: z.strictObject({ operationId: idSchema, step: z.string() }).nullable(),
  /** The person who asked, where no operation did. */
  initiatedBy: z.string().exactOptional(),
  state: z.enum(["pending", "running", "done", "failed"]),
  progress: z.strictObject({ done: z.int(), total: z.int(), unit: z.string() }).nullable(),
  result: z.record(z.string(), z.unknown()).nullable(),
  error: z.strictObject({ name: z.string(), message: z.string() }).nullable(),
  endedAt: z.int().nullable(),
});
type StoredCommand = z.infer<typeof storedSchema>;

export type CommandState = StoredCommand["state"] | "expired";

/** A command as it stands now. `expired` is never stored: it is a function of the time, until it is settled by an expiry at 0. */
export interface CommandRecord extends Omit<StoredCommand, "state"> {
  readonly state: CommandState;
}

export interface CommandAsk {
  readonly commandId: string;
  readonly body: CommandBody;
  /** Without a report for so long the command is expired; the default is `commandExpiryMs`. */
  readonly expiresInMs?: number;
  readonly waiter?: { readonly operationId: Id; readonly step: string };
  readonly initiatedBy?: string;
}

/**
 * State of a stored command at `now`. What was reported in time stays; what was not is expired for good, because a later
 * report is refused: so whoever looks after the expiry sees the same answer. Only a site that was away, and begins, extends it.
 * An expiry that no report of now could bring is of a clock that was hours ahead and has been set right: whoever waits is told
 * that it is over, instead of waiting for as long as the clock was wrong. Up to twice the life is left to corrections.
 */
export function commandState({ state, command, lifeMs }: Known, now: number): CommandState {
  const open = state === "pending" || state === "running";
  const leftMs = command.expiresAt - now;
  return open && (leftMs <= 0 || leftMs > 2 * lifeMs) ? "expired" : state;
}

type Known = Pick<StoredCommand, "state" | "command" | "lifeMs">;

/** Creates the command for a transaction that does more. The transaction fails when the command exists. */
export function commandActions(site: Site, gatewayId: Id, ask: CommandAsk): readonly TableAction[] {
  const now = site.clock.now();
  const lifeMs = ask.expiresInMs ?? limits.commandExpiryMs;
  const stored: StoredCommand = {
    gatewayId,
    command: { commandId: ask.commandId, createdAt: now, expiresAt: now + lifeMs, body: ask.body },
    lifeMs,
    waiter: ask.waiter === undefined ? null : { operationId: ask.waiter.operationId, step: ask.waiter.step },
    ...(ask.initiatedBy === undefined ? {} : { initiatedBy: ask.initiatedBy }),
    state: "pending",
    progress: null,
    result: null,
    error: null,
    endedAt: null,
  };
  return [
    { put: items.commandRecord(ask.commandId), fields: tableFields(stored), if: { absent: true } },
    { put: items.command(gatewayId, ask.commandId), fields: {} },
  ];
}

/** Asks a gateway for something. The same id again answers with the command as it is; with another body it is `InvalidInput`. */
export async function issueCommand(site: Site, gatewayId: Id, ask: CommandAsk): Promise<CommandRecord> {
  try {
    await site.table.transact(commandActions(site, gatewayId, ask));
  } catch (error) {
    if (!(error instanceof ConditionFailed)) throw error;
  }
  const record = await getCommand(site, ask.commandId);
  const same = equalValues(tableFields(record.command.body), tableFields(ask.body));
  if (!same || record.gatewayId !== gatewayId) {
    throw new InvalidInput(`command ${ask.commandId} was already given with another content; use a new id`, {
      commandId: ask.commandId,
    });
  }
  return record;
}

/** The command as it stands now. Throws `NotFound`. */
export async function getCommand(site: Site, commandId: string): Promise<CommandRecord> {
  const record = await findCommand(site, commandId);
  if (record !== undefined) return record;
  throw new NotFound(`no command ${commandId.slice(0, 120)} at this site`, { commandId: commandId.slice(0, 120) });
}

export async function findCommand(site: Site, commandId: string): Promise<CommandRecord | undefined> {
  const found = await read(site, commandId);
  return found && { ...found.stored, state: commandState(found.stored, site.clock.now()) };
}

async function read(site: Site, commandId: string): Promise<{ stored: StoredCommand; rev: number } | undefined> {
  const item = await site.table.get(items.commandRecord(commandId));
  return item && { stored: checkStored(storedSchema, item.fields, `command ${commandId}`), rev: item.rev };
}

/**
 * What a gateway has to do, oldest first: at most `commandsPerReplyMax`, and behind them at most `unhurriedPerReplyMax` of
 * `unhurriedKinds`. A command is given again until it has ended or expired.
 */
export async function pendingCommands(site: Site, gatewayId: Id): Promise<readonly Command[]> {
  const open = (await queuedCommands(site, gatewayId))
    .filter(isOpen)
    .map(({ command }) => command)
    .sort((left, right) => left.createdAt - right.createdAt || (left.commandId < right.commandId ? -1 : 1));
  const unhurried = open.filter(({ body }) => unhurriedKinds.has(body.kind));
  return [
    ...open.filter((command) => !unhurried.includes(command)).slice(0, limits.commandsPerReplyMax),
    ...unhurried.slice(0, limits.unhurriedPerReplyMax),
  ];
}

/** It has neither ended nor expired. */
export const isOpen = ({ state }: Pick<CommandRecord, "state">): boolean => state === "pending" || state === "running";

/** The gateway's queue, with what was not swept out of it yet. */
export async function queuedCommands(site: Site, gatewayId: Id): Promise<readonly CommandRecord[]> {
  const { pk } = items.command(gatewayId, "");
  const page = await site.table.query(pk);
  const records = await Promise.all(page.items.map((item) => findCommand(site, item.sk)));
  return records.filter((record) => record !== undefined);
}

/**
 * Lets a command that has not ended live for `lifeMs` more, but never longer than a report would; also one that is expired, so nobody
 * may have concluded anything from that. False when there is nothing to do.
 */
export async function extendCommand(site: Site, commandId: string, lifeMs: number): Promise<boolean> {
  const found = await read(site, commandId);
  if (found === undefined) return false;
  const { stored, rev } = found;
  const expiresAt = site.clock.now() + Math.min(lifeMs, stored.lifeMs);
  const ended = stored.state === "done" || stored.state === "failed";
  const lives = commandState(stored, site.clock.now()) !== "expired";
  if (ended || (lives && stored.command.expiresAt >= expiresAt)) return false;
  const fields = tableFields({ ...stored, command: { ...stored.command, expiresAt } });
  await site.table.transact([{ put: items.commandRecord(commandId), fields, if: { rev } }]);
  return true;
}

/** Takes commands that have ended or expired out of the gateway's queue; what became of them stays. Answers how many. */
export async function sweepCommands(site: Site, gatewayId: Id): Promise<number> {
  const over = (await queuedCommands(site, gatewayId)).filter((record) => !isOpen(record));
  for (const record of over) {
    if (record.state === "expired") await settleExpiry(site, record);
    else await site.table.transact([{ delete: items.command(gatewayId, record.command.commandId) }]);
  }
  return over.length;
}

/**
 * Makes an expiry stand, whatever time it will be, and takes the command out of the queue: whoever has concluded something from it may
 * not be waited for, or done, after all when a clock that was wrong is set right. False when it is not expired (any more), or when
 * somebody came between.
 */
export async function settleExpiry(
  site: Site,
  { gatewayId, command: { commandId } }: Pick<CommandRecord, "gatewayId" | "command">,
): Promise<boolean> {
  const found = await read(site, commandId);
  const now = site.clock.now();
  if (found === undefined || commandState(found.stored, now) !== "expired") return false;
  const { command, endedAt } = found.stored;
  const ended = endedAt ?? Math.min(now, command.expiresAt);
  const fields = tableFields({ ...found.stored, command: { ...command, expiresAt: 0 }, endedAt: ended });
  try {
    await site.table.transact([
      { put: items.commandRecord(commandId), fields, if: { rev: found.rev } },
      { delete: items.command(gatewayId, commandId) },
    ]);
    return true;
  } catch (error) {
    if (!(error instanceof ConditionFailed)) throw error;
    return false;
  }
}

/** Ends a command that its gateway has not ended: it fails with that error, and a gateway at work on one of `unhurriedKinds` leaves it. */
export async function cancelCommand(
  site: Site,
  { gatewayId, command }: CommandRecord,
  error: NonNullable<StoredCommand["error"]>,
): Promise<void> {
  await storeReport(site, gatewayId, command.commandId, { state: "failed", error });
}

/**
 * Stores what the gateway says about its command and wakes the step that waits for it. "running" renews the expiry; the first
 * "done" or "failed" stays, whatever is said later; after the expiry nothing is taken any more. Every repetition wakes again,
 * so a lost wake is mended by the gateway's resending. Throws `NotFound` for a command of another gateway.
 */
export async function reportCommand(
  site: Site,
  caller: Caller,
  commandId: string,
  report: CommandReport,
): Promise<void> {
  if (caller.gatewayId === null) throw new Forbidden("only a gateway reports on its commands");
  const stored = await storeReport(site, caller.gatewayId, commandId, report);
  if (stored.waiter === null) return;
  const token = await waitingToken(site, stored.waiter.operationId, stored.waiter.step);
  if (token === undefined) return;
  const ended = stored.state === "done" || stored.state === "failed";
  await wake(() => (ended ? site.workflows.succeed(token, "{}") : site.workflows.heartbeat(token)));
}

async function storeReport(
  site: Site,
  gatewayId: Id,
  commandId: string,
  report: CommandReport,
): Promise<StoredCommand> {
  for (let attempt = 0; attempt < limits.writeAttemptsMax; attempt += 1) {
    const found = await read(site, commandId);
    if (found === undefined || found.stored.gatewayId !== gatewayId) {
      throw new NotFound(`no command ${commandId.slice(0, 120)} for this gateway`);
    }
    const state = commandState(found.stored, site.clock.now());
    if (state !== "pending" && state !== "running") return found.stored;
    const next = reported(found.stored, report, site.clock.now());
    const put = { put: items.commandRecord(commandId), fields: tableFields(next), if: { rev: found.rev } };
    try {
      await site.table.transact(
        report.state === "running" ? [put] : [put, { delete: items.command(gatewayId, commandId) }],
      );
      return next;
    } catch (error) {
      if (!(error instanceof ConditionFailed)) throw error;
    }
  }
  throw new Transient(`command ${commandId} is being written by others`);
}

function reported(stored: StoredCommand, report: CommandReport, now: number): StoredCommand {
  switch (report.state) {
    case "running": {
      const command = { ...stored.command, expiresAt: now + stored.lifeMs };
      return { ...stored, command, state: "running", progress: report.progress };
    }
    case "done":
      if (JSON.stringify(report.result).length > limits.commandResultCharactersMax)
        throw new LimitExceeded("the command's result is too large");
      return { ...stored, state: "done", result: report.result, endedAt: now };
    case "failed":
      return { ...stored, state: "failed", error: report.error, endedAt: now };
  }
}

const tokensSchema = z.looseObject({ tokens: z.record(z.string(), z.string()) });

/** The token of the step's wait; it is kept in the operation's item and nowhere else. */
async function waitingToken(site: Site, operationId: Id, step: string): Promise<string | undefined> {
  const item = await site.table.get(items.operation(operationId));
  if (item === undefined) return undefined;
  return checkStored(tokensSchema, item.fields, `operation ${operationId}`).tokens[step];
}

/** Wakes a waiting state. A spent token is no error: the wait is over, and what counts is the record that it reads. */
export async function wake(call: () => Promise<void>): Promise<void> {
  try {
    await call();
  } catch (error) {
    if (!(error instanceof TaskTimedOut)) throw error;
  }
}
