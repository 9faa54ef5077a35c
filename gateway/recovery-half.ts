import type { Id } from "#core/ids.ts";
import type { CommandBody } from "#core/protection/command.ts";
import type { CommandHandlers } from "./control/handlers.ts";
import type { SourceDisks } from "./source/source-disks.ts";

/** Promoted volumes that are the protected disks of their VPG. */
export interface CapturedOperation {
  readonly operationId: Id;
  readonly vpgId: Id;
  readonly vpgName: string;
  /** In which they were captured. */
  readonly term: number;
}

/** The part of a gateway that exports recovered volumes and runs their VMs (gateway/export/). */
export interface RecoveryHalf {
  readonly handlers: CommandHandlers;
  /** Brings the exports back that were attached when the process ended. */
  resume(): Promise<void>;
  /** Operations whose volumes are exported now; told at each heartbeat. */
  attachedOperations(): readonly Id[];
  /** Of each VPG the operation whose volumes were captured last: at a restart they are not exported but by their capture. */
  captured(): Promise<readonly CapturedOperation[]>;
  /**
   * Promoted volumes as the disks of a capture, durably from now on; guests notice nothing. Throws `CommandFailed` when they are not
   * promoted, or not those that the command names.
   */
  capture(body: Extract<CommandBody, { kind: "protect-volumes" }>): Promise<SourceDisks>;
  /** The disks of what `captured` told, after `resume`. */
  reopen(operation: CapturedOperation): Promise<SourceDisks>;
  /** Ends the exports and keeps what is needed to resume them. */
  close(): Promise<void>;
}
