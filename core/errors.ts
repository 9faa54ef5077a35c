/**
 * Every error that crosses a boundary. The `name` is the contract: ASL Retry/Catch, HTTP replies and the CLI match it.
 * `kind` says what the caller does next: try again, resolve a conflict, distrust data, call a person, or mend the request.
 */
export type ErrorKind = "retryable" | "conflict" | "corrupt" | "operator" | "invalid";

export type ErrorDetails = Readonly<Record<string, string | number | boolean | null>>;

export abstract class FarshoreError extends Error {
  abstract readonly kind: ErrorKind;
  /** The HTTP status a site answers with. */
  abstract readonly status: number;
  readonly details: ErrorDetails;

  constructor(message: string, details: ErrorDetails = {}, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.details = details;
  }
}

export class InvalidInput extends FarshoreError {
  readonly kind = "invalid";
  readonly status = 400;
}
/** A batch, record or frame that the format forbids; `details.field` names the field. */
export class MalformedBatch extends FarshoreError {
  readonly kind = "invalid";
  readonly status = 400;
}
/** Stored bytes that do not pass their own checks. */
export class Corrupt extends FarshoreError {
  readonly kind = "corrupt";
  readonly status = 500;
}
export class Unauthenticated extends FarshoreError {
  readonly kind = "operator";
  readonly status = 401;
}
export class Forbidden extends FarshoreError {
  readonly kind = "operator";
  readonly status = 403;
}
export class NotFound extends FarshoreError {
  readonly kind = "invalid";
  readonly status = 404;
}
/** The world may be well again in a moment: network, throttling, a busy disk. */
export class Transient extends FarshoreError {
  readonly kind = "retryable";
  readonly status = 503;
}
/** A conditional write lost; `details.index` is the action's place in the transaction. */
export class ConditionFailed extends FarshoreError {
  readonly kind = "conflict";
  readonly status = 409;
}
/** It can't be proved that nothing of the source lies behind a move's FINAL. */
export class FinalNotProved extends FarshoreError {
  readonly kind = "operator";
  readonly status = 409;
}
/** The caller's term or session is over: it must stop writing. */
export class Fenced extends FarshoreError {
  readonly kind = "operator";
  readonly status = 403;
}
/** A batch came too far ahead of the unbroken prefix; send the missing ones first. */
export class Gap extends FarshoreError {
  readonly kind = "retryable";
  readonly status = 409;
}
/** Other bytes stand at this batch's place. */
export class Diverged extends FarshoreError {
  readonly kind = "corrupt";
  readonly status = 409;
}
export class DuplicateGateway extends FarshoreError {
  readonly kind = "operator";
  readonly status = 409;
}
/** Another process holds this data or state directory, or this disk; `details.pid` is its number. */
export class DirectoryInUse extends FarshoreError {
  readonly kind = "operator";
  readonly status = 409;
}
export class TableBehindBucket extends FarshoreError {
  readonly kind = "operator";
  readonly status = 409;
}
export class RecoverySiteRegressed extends FarshoreError {
  readonly kind = "operator";
  readonly status = 409;
}
export class OperationInProgress extends FarshoreError {
  readonly kind = "conflict";
  readonly status = 409;
}
export class NotBeforeCommit extends FarshoreError {
  readonly kind = "conflict";
  readonly status = 409;
}
/** A VPG was edited by somebody else since the caller read it; `details.revision` is the one that it has now. */
export class DefinitionChanged extends FarshoreError {
  readonly kind = "conflict";
  readonly status = 409;
}
/** Commit or rollback was asked for after the other one was decided. */
export class AlreadyDecided extends FarshoreError {
  readonly kind = "conflict";
  readonly status = 409;
}
export class ComputeNotConfigured extends FarshoreError {
  readonly kind = "operator";
  readonly status = 409;
}
export class PeerHasNoJournal extends FarshoreError {
  readonly kind = "operator";
  readonly status = 409;
}
/** A peer does not take the offer of reverse protection, or it can't be made; the message says why. */
export class OfferRefused extends FarshoreError {
  readonly kind = "operator";
  readonly status = 409;
}
/** A gateway that starts may not serve read-write yet (R17). */
export class RunGrantRefused extends FarshoreError {
  readonly kind = "operator";
  readonly status = 403;
}
/** The gateway's volumes are not those of the definition. It may serve them (R17 is granted), and gets no session until they agree. */
export class VolumesDiffer extends FarshoreError {
  readonly kind = "operator";
  readonly status = 409;
}
/** The source gateways have begun to protect the VPG: preseeds come before. */
export class ProtectionBegan extends FarshoreError {
  readonly kind = "conflict";
  readonly status = 409;
}
export class NoCheckpoint extends FarshoreError {
  readonly kind = "operator";
  readonly status = 409;
}
/** A time or tag names more than one checkpoint; the message lists them. */
export class AmbiguousCheckpoint extends FarshoreError {
  readonly kind = "invalid";
  readonly status = 409;
}
/** The source could not be shut down as the policy asks. */
export class SourceShutdownFailed extends FarshoreError {
  readonly kind = "operator";
  readonly status = 409;
}
/** A command to a gateway failed or expired. */
export class CommandFailed extends FarshoreError {
  readonly kind = "operator";
  readonly status = 409;
}
export class CommandExpired extends FarshoreError {
  readonly kind = "operator";
  readonly status = 409;
}
/** A gateway has not finished a command yet; the workflow goes back to waiting for it. */
export class CommandRunning extends FarshoreError {
  readonly kind = "retryable";
  readonly status = 409;
}
/** The workflow of an operation was ended from outside; the operation says what to do next. */
export class OperationAborted extends FarshoreError {
  readonly kind = "operator";
  readonly status = 409;
}
export class ExecutionAlreadyExists extends FarshoreError {
  readonly kind = "conflict";
  readonly status = 409;
}
export class TaskTimedOut extends FarshoreError {
  readonly kind = "conflict";
  readonly status = 409;
}
/** A state machine document that the interpreter does not understand. */
export class InvalidDefinition extends FarshoreError {
  readonly kind = "invalid";
  readonly status = 400;
}
/** The journal speaks a format this version cannot read. */
export class UnsupportedFormat extends FarshoreError {
  readonly kind = "operator";
  readonly status = 409;
}
/** An approval was asked for and given too late; a person may still start the failover. */
export class ApprovalExpired extends FarshoreError {
  readonly kind = "operator";
  readonly status = 409;
}
/** The source was heard again before a triggered failover started; nothing is left to approve. */
export class SourceRecovered extends FarshoreError {
  readonly kind = "conflict";
  readonly status = 409;
}
/** A bound of limits.ts was reached. */
export class LimitExceeded extends FarshoreError {
  readonly kind = "operator";
  readonly status = 429;
}
/** An operator has paused the VPG: nothing is journaled until it is resumed. */
export class ReplicationPaused extends FarshoreError {
  readonly kind = "operator";
  readonly status = 409;
}
/** The VPG's journal has reached its limit, and its policy is to pause: nothing more is journaled until there is room. */
export class JournalFull extends FarshoreError {
  readonly kind = "operator";
  readonly status = 507;
}

const classes: readonly (new (message: string, details?: ErrorDetails, options?: ErrorOptions) => FarshoreError)[] = [
  InvalidInput,
  MalformedBatch,
  Corrupt,
  Unauthenticated,
  Forbidden,
  NotFound,
  Transient,
  ConditionFailed,
  Fenced,
  Gap,
  Diverged,
  DuplicateGateway,
  DirectoryInUse,
  TableBehindBucket,
  RecoverySiteRegressed,
  OperationInProgress,
  NotBeforeCommit,
  DefinitionChanged,
  AlreadyDecided,
  ComputeNotConfigured,
  PeerHasNoJournal,
  OfferRefused,
  RunGrantRefused,
  VolumesDiffer,
  ProtectionBegan,
  NoCheckpoint,
  AmbiguousCheckpoint,
  SourceShutdownFailed,
  FinalNotProved,
  CommandFailed,
  CommandExpired,
  CommandRunning,
  OperationAborted,
  ExecutionAlreadyExists,
  TaskTimedOut,
  InvalidDefinition,
  UnsupportedFormat,
  ApprovalExpired,
  SourceRecovered,
  LimitExceeded,
  ReplicationPaused,
  JournalFull,
];

const byName = new Map(classes.map((type) => [type.name, type]));

/** Every contract name, for the house tests and the documents. */
export const errorNames: readonly string[] = [...byName.keys()];

/** The error of that name again, as it came over a wire; an unknown name becomes `Transient`, so that callers may only retry it. */
export function errorFromWire(name: string, message: string, details: ErrorDetails = {}): FarshoreError {
  const type = byName.get(name) ?? Transient;
  return new type(message, details);
}

/** True when trying the same call again may help. */
export function isRetryable(error: unknown): boolean {
  return error instanceof FarshoreError ? error.kind === "retryable" : true;
}

/** For `default:` of a switch over a union: fails to compile when a case is forgotten. */
export function assertNever(value: never): never {
  throw new TypeError(`unreachable: ${JSON.stringify(value)}`);
}
