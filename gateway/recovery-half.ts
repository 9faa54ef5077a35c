import type { Id } from "#core/ids.ts";
import type { CommandHandlers } from "./control/handlers.ts";

/** The part of a gateway that exports recovered volumes and runs their VMs (gateway/export/). */
export interface RecoveryHalf {
  readonly handlers: CommandHandlers;
  /** Brings the exports back that were attached when the process ended. */
  resume(): Promise<void>;
  /** Operations whose volumes are exported now; told at each heartbeat. */
  attachedOperations(): readonly Id[];
  /** Ends the exports and keeps what is needed to resume them. */
  close(): Promise<void>;
}
