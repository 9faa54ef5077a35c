import type { CommandBody } from "#core/protection/command.ts";

export type CommandKind = CommandBody["kind"];

export interface CommandContext {
  readonly commandId: string;
  /** Aborted when the gateway stops; the command is sent again to its next life. */
  readonly signal: AbortSignal;
  /** Reported to the site at the next heartbeat; keeps the waiting step alive. */
  progress(done: number, total: number, unit: string): void;
}

/** Runs one kind of command. Safe to repeat: the same command again gives the same result. Throws a named error of core/errors.ts. */
export type CommandHandler<K extends CommandKind> = (
  body: Extract<CommandBody, { kind: K }>,
  context: CommandContext,
) => Promise<Record<string, unknown>>;

/** The kinds a gateway can serve; the recovery half and the source half each bring theirs. */
export type CommandHandlers = { readonly [K in CommandKind]?: CommandHandler<K> };
