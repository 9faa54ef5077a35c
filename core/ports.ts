/**
 * The world as core sees it. Each port has one contract suite in test/contract/ that every adapter passes.
 * Adapters throw the errors of core/errors.ts where a method says so; anything else that goes wrong is a `Transient`.
 */

/** Milliseconds since the Unix epoch, and a monotonic reading for durations. */
export interface Clock {
  now(): number;
  monotonic(): number;
  /** Resolves after `ms`; rejects with the signal's reason when it is aborted first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export interface Random {
  /** `length` random bytes. */
  bytes(length: number): Uint8Array;
}

export type LogFields = Readonly<Record<string, unknown>>;
export interface Log {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
}

/** A half-open range of bytes, `[offset, offset + length)`. */
export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

export interface ObjectInfo {
  readonly key: string;
  readonly size: number;
}

/**
 * Durable objects by key (`[a-z0-9/._-]`, no empty or dot segments, at most 512 characters; otherwise `InvalidInput`).
 * Strongly consistent. An object is whole and durable before `put` returns; nothing half-written is ever visible. Whether a
 * key may be a folder of another is the store's matter (`InvalidInput` where it may not), so no caller makes such keys.
 */
export interface Objects {
  /** The bytes, or a range cut to the object's end, in memory of the caller's own. Throws `NotFound`, and `Transient` with `medium: true` when the medium fails to give them. */
  get(key: string, range?: ByteRange): Promise<Uint8Array>;
  /** With `ifAbsent`, creates or answers "exists" (412: someone else was first); without, replaces. Conflicts in flight (409) are retried inside. */
  put(key: string, body: Uint8Array, options?: { readonly ifAbsent?: boolean }): Promise<"created" | "exists">;
  /** Size, or undefined when absent. */
  head(key: string): Promise<ObjectInfo | undefined>;
  /** Keys that start with `prefix` and sort after `after`, in byte order, at most `limit` (default and most 1000). Fewer than `limit` means the end. */
  list(prefix: string, options?: { readonly after?: string; readonly limit?: number }): Promise<readonly ObjectInfo[]>;
  /** Idempotent. A store that keeps versions keeps what was there as an old one. */
  delete(key: string): Promise<void>;
  /** Deletes objects so that nothing of them is left, old versions included; absent ones are as good. At most 1000 keys, in byte order. */
  purge(keys: readonly string[]): Promise<void>;
}

/** What a table field may hold; no floats that JSON would change, no undefined. */
export type TableValue =
  | string
  | number
  | boolean
  | null
  | readonly TableValue[]
  | { readonly [name: string]: TableValue };
export type TableFields = Readonly<Record<string, TableValue>>;

export interface TableKey {
  readonly pk: string;
  readonly sk: string;
}

/** `rev` is 1 when created and grows by one with every write. */
export interface TableItem extends TableKey {
  readonly rev: number;
  readonly fields: TableFields;
}

export type TableCondition =
  | { readonly absent: true }
  | { readonly rev: number }
  /** The item exists and each named top-level field equals the value (deep equality; a missing field equals null). */
  | { readonly equals: TableFields };

export type TableAction =
  | { readonly put: TableKey; readonly fields: TableFields; readonly if?: TableCondition }
  | { readonly delete: TableKey; readonly if?: TableCondition }
  | { readonly check: TableKey; readonly if: TableCondition };

/** Items by (pk, sk). Reads are strongly consistent. An item is at most 400 KB (`InvalidInput`). */
export interface Table {
  get(key: TableKey): Promise<TableItem | undefined>;
  /** Items of one pk with sk in `[from, to)` (both optional), in byte order of sk or reversed; `limit` at most 1000 (default). `cursor` goes on after the last item of the page before. */
  query(
    pk: string,
    options?: {
      readonly from?: string;
      readonly to?: string;
      readonly reverse?: boolean;
      readonly limit?: number;
      readonly cursor?: string;
    },
  ): Promise<{ readonly items: readonly TableItem[]; readonly cursor?: string }>;
  /** All or nothing; at most 100 actions on distinct keys. Throws `ConditionFailed` with the index of the first failed action. */
  transact(actions: readonly TableAction[]): Promise<void>;
}

export type ExecutionStatus = "RUNNING" | "SUCCEEDED" | "FAILED" | "TIMED_OUT" | "ABORTED";

export interface ExecutionDescription {
  readonly name: string;
  readonly status: ExecutionStatus;
  readonly startedAt: number;
  readonly stoppedAt?: number;
  /** JSON text. */
  readonly output?: string;
  readonly error?: string;
  readonly cause?: string;
}

/** Runs the state machines of workflows/. `machine` is the folder's name; `name` is unique for ever per machine. */
export interface Workflows {
  /** Idempotent for the same name and input while it runs; a closed name or another input throws `ExecutionAlreadyExists`. `input` is JSON; a machine that isn't there is `NotFound`, or `Transient` where it can only be that the site is not deployed whole. */
  start(machine: string, name: string, input: string): Promise<void>;
  /** Undefined when there is no such execution. */
  describe(machine: string, name: string): Promise<ExecutionDescription | undefined>;
  /** Stops a running execution (ABORTED); a closed or unknown one is left as it is. */
  stop(machine: string, name: string, error: string, cause: string): Promise<void>;
  /** Token callbacks. Throw `TaskTimedOut` when the token is spent, stale or unknown. */
  succeed(taskToken: string, output: string): Promise<void>;
  fail(taskToken: string, error: string, cause: string): Promise<void>;
  heartbeat(taskToken: string): Promise<void>;
}

/** Another site, as this one knows it. */
export interface PeerAddress {
  readonly name: string;
  readonly url: string;
  /** For which requests are signed; null for a site that knows callers by tokens. */
  readonly region: string | null;
}

export interface PeerRequest {
  readonly method: "PUT" | "POST" | "DELETE";
  readonly path: string;
  /** Sent as JSON. */
  readonly body?: object;
}

/** Other sites. Each may be away at any time, and whatever is asked may come there twice, or late. */
export interface Peers {
  /** The answer's JSON. Throws the peer's refusal by its name, `Transient` when nothing known answered. */
  ask(peer: PeerAddress, request: PeerRequest): Promise<unknown>;
}

/** What people are to be told. `noticeId` is the same when it is told again, so that a receiver can drop the copy. */
export interface Notice {
  readonly noticeId: string;
  /** As in core/trigger/incident.ts: "unreachable", "approval-waits", … */
  readonly kind: string;
  readonly siteName: string;
  readonly vpgName: string;
  readonly incidentId: string;
  readonly text: string;
}

/** Reaches people: at least once, or throws and is asked again. */
export interface Notify {
  publish(notice: Notice): Promise<void>;
}
