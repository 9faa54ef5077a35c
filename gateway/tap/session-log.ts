import { NoCheckpoint } from "#core/errors.ts";
import type { BarrierEvent, BatchEvent } from "#core/journal/batch.ts";
import { comparePositions, type Position } from "#core/journal/position.ts";
import type { Clock } from "#core/ports.ts";
import type { Piece } from "#core/sync/pieces.ts";
import { lowWaterShare, syncQueueBytesMax, syncShare } from "../limits.ts";
import { Backlog } from "./backlog.ts";
import { ChangeSignal } from "./change-signal.ts";
import type { SegmentBuffers } from "./segment.ts";
import { SegmentStream } from "./segment-stream.ts";
import type { ChainHead, LogMode, LogSession, SegmentSink, SessionStart } from "./session-types.ts";
import type { Tap } from "./tap.ts";
import type { VolumeTrack } from "./volume-track.ts";
import { VolumeTracks } from "./volume-tracks.ts";

interface CurrentSession extends LogSession {
  readonly stream: SegmentStream;
}

/**
 * One VPG's writes on this gateway as one sequence: the tap of all its volumes. It journals while it has a session, room and no
 * pause; otherwise it marks chunks as suspects, and a sync (gateway/sync/) settles them later. It never waits and never throws
 * at a guest's write (R1, R6).
 */
export class SessionLog implements Tap {
  readonly changes = new ChangeSignal();
  /** What they are compared with and suspected of; they come and go between sessions. */
  readonly volumes: VolumeTracks;
  readonly #clock: Clock;
  readonly #bufferBytes: number;
  #session: CurrentSession | undefined;
  /** Sequence of the newest hold, 0 before the first. */
  #holdSequence = 0;
  #heldSinceFlush = false;
  #paused = false;
  #overflowed = false;
  #fenced = false;
  #closed = false;
  /** Only suspects are marked: the session is about to be followed by another one. */
  #suspended = false;
  #head: ChainHead | undefined;
  #writes = 0;
  #writtenBytes = 0;

  constructor(options: { readonly sizes: readonly number[]; readonly bufferBytes: number; readonly clock: Clock }) {
    this.volumes = new VolumeTracks(options.sizes);
    this.#bufferBytes = options.bufferBytes;
    this.#clock = options.clock;
  }

  // --- what the disks tell (gateway/disk/tapped-device.ts); `volume` is the index of a track ---

  write(volume: number, offset: number, bytes: Uint8Array): void {
    this.#writes += 1;
    this.#writtenBytes += bytes.length;
    this.#write(this.#track(volume), offset, bytes);
  }

  zero(volume: number, offset: number, length: number): void {
    this.#writes += 1;
    this.#writtenBytes += length;
    this.#zero(this.#track(volume), offset, length);
  }

  distrust(volume: number, offset: number, length: number): void {
    const track = this.#track(volume);
    track.suspect(offset, length);
    this.#beginSyncs();
    this.changes.fire();
  }

  get tracks(): readonly VolumeTrack[] {
    return this.volumes.tracks;
  }

  // --- session ---

  /** Begins to journal. A volume that does not continue is wholly suspect, and its sync-begin is the session's first record. */
  attach(session: LogSession, sink: SegmentSink, start: SessionStart): void {
    if (this.#session !== undefined) throw new TypeError("a session is attached already");
    const backlog = new Backlog(this.#bufferBytes);
    this.#session = { ...session, stream: new SegmentStream({ backlog, sink, clock: this.#clock }) };
    this.#holdSequence = 0;
    this.#overflowed = false;
    this.#closed = false;
    this.#suspended = false;
    this.#head = undefined;
    this.#writes = 0;
    this.#writtenBytes = 0;
    this.volumes.begin(session.journalVolumes, start);
    this.#beginSyncs();
    this.flush();
    this.changes.fire();
  }

  /** The session is lost: nothing is journaled, and everything is suspect until another one begins. */
  detach(): void {
    this.#session = undefined;
    this.volumes.distrust();
    this.changes.fire();
  }

  /** From here on only suspects are marked; when all before is acknowledged, `leave` and the next session go on from there. */
  suspend(): void {
    this.cut();
    this.#suspended = true;
    this.changes.fire();
  }

  /**
   * Takes leave of a session that `final`, `close` or `suspend` ended. When the site has all of it nothing becomes suspect that isn't:
   * the session that follows goes on from there.
   */
  leave(): void {
    const whole = (this.#closed || this.#suspended) && this.#session?.stream.acknowledged === true;
    if (!whole) this.detach();
    else if (this.#suspended && this.lastPosition !== undefined) this.volumes.leave(this.lastPosition);
    this.#session = undefined;
    this.changes.fire();
  }

  /** Somebody else has the VPG now: nothing is journaled any more in this process's life. */
  fence(): void {
    this.#fenced = true;
    this.detach();
  }

  /** By order of an operator: only suspects are marked until it ends, then they are synced. */
  setPaused(paused: boolean): void {
    if (this.#paused === paused) return;
    if (paused) this.cut();
    this.#paused = paused;
    this.#beginSyncs();
    this.changes.fire();
  }

  get session(): LogSession | undefined {
    return this.#session;
  }

  get lastPosition(): Position | undefined {
    const session = this.#session;
    return session === undefined ? undefined : { session: session.session, sequence: session.stream.lastSequence };
  }

  /**
   * Where what was appended ends for a checkpoint: behind a barrier that changed nothing that is the hold before it, which the
   * barrier names, and while nothing is appended no other one is made.
   */
  get standsAt(): Position | undefined {
    const last = this.lastPosition;
    const still = this.#session?.stream.appendedSinceMarker === false && this.#holdSequence > 0;
    return last !== undefined && still ? { ...last, sequence: this.#holdSequence } : last;
  }

  get journaling(): boolean {
    return (
      this.#session !== undefined &&
      !this.#paused &&
      !this.#overflowed &&
      !this.#fenced &&
      !this.#closed &&
      !this.#suspended
    );
  }

  /** Nothing on the disks is unlike the journal: a checkpoint would be valid. */
  get whole(): boolean {
    return this.journaling && !this.syncing;
  }

  get syncing(): boolean {
    return this.tracks.some((track) => track.syncing);
  }

  get mode(): LogMode {
    if (this.#fenced) return "fenced";
    if (this.#session === undefined) return "no-session";
    if (this.#closed) return "closed";
    if (this.#paused) return "paused";
    if (this.#overflowed || this.#suspended) return "dirty";
    const labels = this.tracks.flatMap((track) => (track.syncing ? track.label : []));
    return labels.find((label) => label === "initial-sync") ?? labels[0] ?? "replicating";
  }

  get backlog(): Backlog | undefined {
    return this.#session?.stream.backlog;
  }

  /** Everything appended is acknowledged, and nothing is syncing, dirty or paused: a checkpoint's validity may be extended. */
  get idle(): boolean {
    const stream = this.#session?.stream;
    return this.journaling && !this.syncing && stream?.appendedSinceMarker === false && stream.acknowledged;
  }

  get statistics(): { readonly writes: number; readonly writtenBytes: number; readonly lagMs: number } {
    return { writes: this.#writes, writtenBytes: this.#writtenBytes, lagMs: this.#session?.stream.lagMs ?? 0 };
  }

  // --- cuts and markers ---

  /**
   * Called once a checkpoint interval: a marker if anything was appended since the last, or only a cut while a sync runs, or where
   * barriers make the checkpoints and none did it.
   */
  flush(): void {
    if (!this.journaling) return;
    const own = this.#marks;
    const cutOnly = this.syncing || (!own && !this.#heldSinceFlush);
    this.#heldSinceFlush = false;
    if (cutOnly) this.cut();
    else if (!own) return;
    else if (this.#session?.stream.appendedSinceMarker === true) this.#mark("");
  }

  /** Puts a tagged marker into the stream now; it is a checkpoint once acknowledged. Throws `NoCheckpoint` while none can be valid. */
  tag(tag: string): Position {
    const marked = this.whole && this.#mark(tag);
    const position = this.lastPosition;
    if (!marked || position === undefined) {
      throw new NoCheckpoint(
        `No checkpoint can be made while replication is in mode "${this.mode}"; ask again when "farshore status" shows it replicating`,
        { mode: this.mode },
      );
    }
    return position;
  }

  /**
   * R11: everything appended so far stands at or before the position that is answered, which a barrier may name; undefined while no
   * checkpoint can be valid. Whoever asks withholds acknowledgements before.
   */
  hold(): Position | undefined {
    if (!this.whole || this.#session === undefined) return undefined;
    const { session, stream } = this.#session;
    if (stream.appendedSinceMarker || this.#holdSequence === 0) {
      const time = this.#clock.now();
      if (!this.#event((sequence) => ({ kind: "hold", sequence, time }))) return undefined;
      this.#holdSequence = stream.lastSequence;
      stream.marked();
      this.cut();
    }
    this.#heldSinceFlush = true;
    return { session, sequence: this.#holdSequence };
  }

  /** Appends the coordinator's record of a barrier that held; `heldAt` is the monotonic clock at its instant, from which its age counts. */
  barrier(barrier: Omit<BarrierEvent, "kind" | "sequence">, heldAt: number): Position | undefined {
    const stream = this.#session?.stream;
    const still = stream?.appendedSinceMarker === false;
    if (!this.#event((sequence) => ({ kind: "barrier", sequence, ...barrier }))) return undefined;
    // It changes nothing on the disks: what stood still goes on standing still.
    if (still) stream.marked();
    this.cut(heldAt);
    return this.lastPosition;
  }

  /** Seals the open segment and hands it on. */
  cut(lastAt?: number): void {
    this.#session?.stream.cut(lastAt);
  }

  /**
   * The clean end: a marker where they make the checkpoints, then the close record; false, with only a cut, when the journal lacks something, so that no close
   * may be said. The guests must be gone before.
   */
  close(): boolean {
    const { whole } = this;
    const marked = whole && (!this.#marks || !this.#session?.stream.appendedSinceMarker || this.#mark(""));
    const closed = marked && this.#event((sequence) => ({ kind: "close", sequence }));
    this.cut();
    this.#closed = true;
    this.changes.fire();
    return closed;
  }

  /**
   * The end that a move asks for: a checkpoint of all that was written, then FINAL as the session's last record; its position, or
   * undefined when the journal lacks something. Where barriers make the checkpoints the coordinator's names the FINALs of the
   * others, and theirs have none before them. The guests must be gone before, of all gateways.
   */
  final(operationId: string, others: readonly Position[] = []): Position | undefined {
    if (!this.whole) return undefined;
    const tag = `Final of ${operationId}`;
    const marks = this.#session?.checkpoints !== "barriers";
    const marked = marks ? this.#mark(tag) : others.length === 0 || this.#lastBarrier(tag, others);
    const hash = new Uint8Array(32);
    if (!marked || !this.#event((sequence) => ({ kind: "final", sequence, operationId, hash }))) return undefined;
    this.cut();
    this.#closed = true;
    this.changes.fire();
    return this.lastPosition;
  }

  #lastBarrier(tag: string, others: readonly Position[]): boolean {
    const held = this.hold();
    if (held === undefined) return false;
    const vector = [...others, held].sort(comparePositions);
    return this.barrier({ time: this.#clock.now(), tag, vector }, this.#clock.monotonic()) !== undefined;
  }

  /** Of the newest batch that was encoded. */
  get head(): ChainHead | undefined {
    return this.#head;
  }

  // --- what the shipper tells ---

  encoded(batch: number, storedBytes: number, buffers: SegmentBuffers, hash: Uint8Array): void {
    this.backlog?.encoded(batch, storedBytes, buffers);
    this.#head = { batch, hash };
    this.#roomCame();
  }

  acknowledged(batch: number): void {
    this.backlog?.acknowledged(batch);
    this.#roomCame();
  }

  // --- what the sync asks and does ---

  /** False while a sync should leave the buffer and the encoder to the guests. */
  get syncMayProceed(): boolean {
    const { backlog } = this;
    return (
      this.journaling &&
      backlog !== undefined &&
      backlog.unacknowledgedBytes <= this.#bufferBytes * syncShare &&
      backlog.rawBytes <= syncQueueBytesMax
    );
  }

  /**
   * Appends what the target lacks of a suspect chunk, and settles the chunk; synchronously, so that no guest's write comes
   * between. `revision` is the track's from before the chunk was read: if suspicion was added since, the comparison is void.
   * Returns false when the chunk stays a suspect.
   */
  settleChunk(
    track: VolumeTrack,
    chunk: number,
    revision: number,
    start: number,
    bytes: Uint8Array,
    pieces: readonly Piece[],
  ): boolean {
    if (!this.journaling || track.revision !== revision) return false;
    for (const piece of pieces) {
      if (piece.zero) this.#zero(track, start + piece.start, piece.length);
      else this.#write(track, start + piece.start, bytes.subarray(piece.start, piece.start + piece.length));
    }
    // An overflow on the way made the rest a suspect again.
    if (!this.journaling || track.revision !== revision) return false;
    track.suspects.delete(chunk);
    return true;
  }

  /** Every chunk is compared again, in this very session; the guests' writes go on being journaled. */
  resync(): void {
    for (const track of this.tracks) track.suspectAll();
    this.#beginSyncs();
    for (const track of this.tracks) track.label = "delta-sync";
    this.changes.fire();
  }

  /**
   * Settles suspects that the journal was found to hold, `chunks` counted from `first`. `revision` is the track's from before
   * they were read: what was written since is appended by itself, and where it could not be, the revision is another. False then.
   */
  dropSuspects(track: VolumeTrack, first: number, chunks: readonly number[], revision: number): boolean {
    if (!this.journaling || !track.syncing || track.revision !== revision) return false;
    for (const chunk of chunks) track.suspects.delete(first + chunk);
    return true;
  }

  /** Ends the volume's sync if nothing is suspect; the first checkpoint after the last one's end follows at once. */
  endSync(track: VolumeTrack): boolean {
    if (!this.journaling || !track.syncing || track.suspects.count > 0) return false;
    const said =
      this.#session?.checkpoints === "none" ||
      this.#event((sequence) => ({ kind: "sync-end", sequence, volume: track.journalVolume }));
    if (!said) return false;
    track.syncing = false;
    this.flush();
    this.changes.fire();
    return true;
  }

  // --- inside ---

  /** Its own markers make the session's checkpoints. */
  get #marks(): boolean {
    return (this.#session?.checkpoints ?? "markers") === "markers";
  }

  #track(volume: number): VolumeTrack {
    const track = this.volumes.at(volume);
    if (track === undefined) throw new TypeError(`there is no volume ${volume}`);
    return track;
  }

  #write(track: VolumeTrack, offset: number, bytes: Uint8Array): void {
    const done = this.#stream?.write(track.journalVolume, offset, bytes) ?? 0;
    if (done < bytes.length) this.#leftOut(track, offset + done, bytes.length - done);
  }

  #zero(track: VolumeTrack, offset: number, length: number): void {
    const done = this.#stream?.zero(track.journalVolume, offset, length) ?? 0;
    if (done < length) this.#leftOut(track, offset + done, length - done);
  }

  /** False when there was no room, and so no journaling any more. */
  #event(make: (sequence: number) => BatchEvent): boolean {
    const appended = this.#stream?.event(make) ?? false;
    if (!appended) this.#overflow();
    return appended;
  }

  #leftOut(track: VolumeTrack, offset: number, length: number): void {
    this.#overflow();
    track.suspect(offset, length);
  }

  /** The session's records while anything may be journaled. */
  get #stream(): SegmentStream | undefined {
    return this.journaling ? this.#session?.stream : undefined;
  }

  /** Something found no room: passing the bound is where journaling ends until there is some again. */
  #overflow(): void {
    if (!this.journaling) return;
    this.#overflowed = true;
    this.changes.fire();
  }

  #mark(tag: string): boolean {
    const time = this.#clock.now();
    if (!this.#event((sequence) => ({ kind: "marker", sequence, time, tag }))) return false;
    this.#session?.stream.marked();
    this.cut();
    return true;
  }

  #roomCame(): void {
    if (this.#overflowed && (this.backlog?.unacknowledgedBytes ?? 0) <= this.#bufferBytes * lowWaterShare) {
      this.#overflowed = false;
      this.#beginSyncs();
    }
    this.changes.fire();
  }

  /** Writes are journaled from here on: says so of every volume with suspects, and what its hashes are to be compared with. */
  #beginSyncs(): void {
    for (const track of this.tracks) {
      if (!this.journaling || (track.suspects.count === 0 && !track.owed)) continue;
      if (!track.syncing) {
        if (track.basisRevision !== track.revision) track.label = "bitmap-sync";
        if (!this.#event((sequence) => ({ kind: "sync-begin", sequence, volume: track.journalVolume }))) return;
        track.syncing = true;
        track.owed = false;
      }
    }
    const upTo = this.lastPosition;
    for (const track of this.tracks) {
      if (!this.journaling || upTo === undefined || track.basisRevision === track.revision) continue;
      track.basis = { kind: "image", upTo };
      track.basisRevision = track.revision;
    }
  }
}
